"""A finished run in use: its system, decoding, transcription, word times and export."""
