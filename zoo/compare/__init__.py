"""Comparing: every model on every film, cell by cell; what is missing is trained."""
