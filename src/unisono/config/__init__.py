"""Every key of a config: type, range, default, unit and one sentence, each in the module of its section.

The sections are frozen dataclasses of the standard library whose annotations carry the markers of `markers`. A command
builds the section that it reads from JSON (`build`) and needs nothing else; where a user's config is checked, pydantic
reads the same dataclasses (`check`).

| module | sections |
|---|---|
| `corpus` | `corpus` |
| `features` | `features`, `hmm.features` |
| `hmm` | `hmm` |
| `language` | `lm`, `decode`, `report` |
| `network` | `network`, `initialisation` |
| `optimiser` | `optimiser` |
| `schedule` | `schedule` |
| `parallel` | `parallel`, `resources` |
| `run` | `observers`, `diagnostics`, `data` and the single keys of a run |
| `study` | `study`, and the grid that it stands for |
| `config` | the whole |
"""
