"""Evaluation: reconstruct every frame of a film, score it, and write a record."""
