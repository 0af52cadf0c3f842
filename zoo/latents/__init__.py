"""A film in numbers: latents quantised, coded without loss, and kept on disk."""
