"""What comes with film-zoo, as plugins like any other: found by entry point, no privilege."""
