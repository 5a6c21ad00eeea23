"""One Python that has imported torch, and runs the commands of local rules in forked copies of itself."""
