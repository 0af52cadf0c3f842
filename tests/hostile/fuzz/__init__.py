"""Coverage-guided fuzzing of every reader: `python -m tests.hostile.fuzz NAME --runs N`."""
