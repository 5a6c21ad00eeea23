"""Filterbank and cepstral features, their normalisation, and reading them as models do."""
