"""A film drawn again from its latents: a run is chosen, its eyes are opened, a video is written.

The eyes (`Eyes`) are a trained network with the scale of its latents. What they draw is what was
scored: latents in 8 bits on the scale of the film the network was trained on, pictures in 8 bits.
"""
