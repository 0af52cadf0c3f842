"""The built-in plugins, which are found by entry point and have no special privileges."""
