"""Film output: what a trained model makes of a film, written to files.

A reconstructed film as a video with its sound (`reconstruct_film`), a film as a `.zoo` file of
latents (`film_file`), paths through latent space (`latent_paths`), and a model exported as graphs
(`export_graphs`) or to the Hugging Face hub (`hub`). All of them decode exactly what was scored:
latents in 8 bits on the scale of the film that the model was trained on, and frames in 8 bits per
colour.
"""
