"""A trained model for other programs: its networks as graphs, and a folder to publish."""
