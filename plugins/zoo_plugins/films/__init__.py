"""Films that are in every catalogue."""
