"""Recordings, transcripts and lexicons: every kind of corpus becomes one checked table a split."""
