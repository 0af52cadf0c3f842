"""The film file, `.zoo`: a film as its latents, in one file.

It is a safetensors file: quantised latents packed without loss, their scale, time codes and a
versioned description; with the decoder's weights and the sound on request. It is sealed by a hash
over all of it and contains no code. `docs/film-files.md` is its specification.
"""
