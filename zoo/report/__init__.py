"""The report: records in, files out. It computes nothing that a record does not hold."""
