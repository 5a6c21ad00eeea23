"""Sections of a config for tests: what is not given is at its default, keys of sibling kinds are dropped."""

from unisono.config.build import build, complete, hints
from unisono.config.markers import kinds_of
from unisono.config.resolve import base_of, expand, run_of, settle
from unisono.config.run import Run


def section(hint, **values):
    """Return a section, checked only as far as a command checks it."""
    if isinstance(hint, type) and "kind" in hints(hint):
        values = {"kind": next(iter(kinds_of(hint))), **values}
    return build(hint, settle(expand(values, hint, ""), hint, "", []))


def run_settings(**values):
    """Return the complete config.json of a run, as `unisono configure` writes it."""
    return complete(build(Run, run_of(base_of(values), [], "", [])), execution=False)
