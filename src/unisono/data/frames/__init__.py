"""Training frames: the store, the order of an epoch, the loader and the ledger."""
