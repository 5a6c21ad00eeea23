"""Unisono: parallel training of speech acoustic models."""

__version__ = "0.1.0"
