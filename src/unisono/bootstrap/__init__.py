"""The HMM stage on a corpus: shards in memory and alignments on disk."""
