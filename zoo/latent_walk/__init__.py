"""Ways through latent space, drawn: between moments of a film, from a prior, and adrift."""
