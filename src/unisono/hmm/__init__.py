"""HMM bootstrap, language model, graph and search, on top of the kaldi wheels."""
