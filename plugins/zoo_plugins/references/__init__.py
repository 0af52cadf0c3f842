"""References that are listed beside the models in every table: mean frame, PCA and video codecs."""
