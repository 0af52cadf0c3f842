"""The contracts that plugin authors implement: models, codecs, metrics, report sections."""
