"""How workers run and how vectors travel between them."""
