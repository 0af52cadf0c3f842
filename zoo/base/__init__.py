"""Code shared by all other packages: errors, files, locks, records, text, the environment."""
