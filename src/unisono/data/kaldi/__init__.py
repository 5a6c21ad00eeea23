"""Kaldi's files: archives and scripts, and the parts of a Kaldi system as plain arrays; nothing in them is executed."""
