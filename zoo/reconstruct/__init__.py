"""Film output: write the results of trained models to files.

It writes a reconstructed film as a video with sound (`reconstruct_film`), a film as a `.zoo` file
of latents (`film_file`), paths through latent space (`latent_paths`), and a model as graphs
(`export_graphs`) or to the Hugging Face hub (`hub`). All of them decode exactly what was scored:
latents in 8 bits on the scale of the training film, and frames in 8 bits per colour.
"""
