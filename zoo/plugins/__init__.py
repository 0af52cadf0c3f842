"""Find, load and register plugins, and build the models that they provide."""
