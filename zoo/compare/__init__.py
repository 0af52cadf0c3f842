"""Compare every model on every film, cell by cell; missing models are trained."""
