"""Word error rates, statistics and plots."""
