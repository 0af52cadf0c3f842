"""References for every table: mean frame, PCA, a pretrained autoencoder and video codecs."""
