"""What a plugin author sees: the contracts of models, codecs, metrics and report sections."""
