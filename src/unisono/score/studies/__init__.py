"""Studies: grids of runs, compared over seeds and utterances."""
