"""References that stand beside the models in every table: mean frame, PCA and video codecs."""
