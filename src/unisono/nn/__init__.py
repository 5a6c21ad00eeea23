"""Networks with hand-written forward and backward passes on views of one flat vector."""
