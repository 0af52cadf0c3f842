"""Layers and codes that several architectures share."""
