"""Files as this release writes them, which later ones read or refuse by name."""
