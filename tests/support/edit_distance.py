"""Levenshtein's distance, row by row: the slow twin of what jiwer counts."""


def distance(a, b):
    """Return the least number of insertions, deletions and substitutions between two sequences."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, start=1):
        before, row = row, [i]
        for j, other in enumerate(b, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (one != other)))
    return row[-1]
