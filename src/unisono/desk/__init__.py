"""What a user asks before, while and after a run: can it work, how far is it, how good is it, what may go."""
