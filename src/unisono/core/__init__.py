"""Pure update rules on flat vectors and plain matrices: no files, no processes, no clock."""
