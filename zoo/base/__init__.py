"""What all other rooms use: errors, files, locks, records, text, the environment."""
