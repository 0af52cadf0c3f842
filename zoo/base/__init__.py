"""What everything else stands on: errors, files, locks, records, text, the environment."""
