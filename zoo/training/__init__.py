"""Training: one loop for every model, exact and resumable, and the run folder it fills."""
