"""Evaluation: a trained model watches a film, frame by frame, and a record is made of it."""
