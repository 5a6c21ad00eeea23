"""A folder of recordings with texts beside them becomes a corpus table and a config."""
