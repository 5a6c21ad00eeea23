"""Recordings, tables, features and the stores between the stages."""
