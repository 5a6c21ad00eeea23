"""What shows that each key of a config matters: rows, and what comes out of a config in each part of the work.

| module | keys |
|---|---|
| `row` | what a row is, and what its values give |
| `training` | those of a run |
| `pretraining` | `initialisation: {kind: rbm}` |
| `corpus` | `corpus`, `speed_perturbation` |
| `bootstrap` | `features`, `hmm`, `lm`, `decode`, `data.dtype` |
| `grid` | `runs`, `study` |
| `rules` | those that a rule of the workflow reads itself |
"""
