"""Programs that keep experiments, told of a training as it runs."""
