"""A film as its numbers and nothing else, in one file: `.zoo`.

The file is a safetensors file: quantised latents coded without loss, their scale, time codes and a
versioned description; the decoder's weights and the sound where they were asked for. It is sealed
by a hash over all of it and holds nothing that runs. `docs/film-files.md` is its specification.
"""
