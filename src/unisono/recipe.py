"""One number per stage, raised in the commit that changes what the stage computes.

Snakemake does not see edits of the library; the rules pass these numbers as `params`, so a raised number
runs the stage and all behind it anew.
"""

RECIPE = {
    "corpus": 2,
    "features": 1,
    "lang": 1,
    "hmm": 1,
    "lm": 1,
    "graph": 1,
    "frames": 1,
    "plan": 2,
    "train": 4,
    "decode": 1,
    "score": 2,
    "report": 5,
    "study": 5,
    "claims": 2,
}
