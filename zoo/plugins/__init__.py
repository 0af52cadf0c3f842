"""Finding, loading and registering plugins; building the models that they bring."""
