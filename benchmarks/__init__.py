"""Measurements: `make bench` runs the tests here; the other files are commands of their own."""
