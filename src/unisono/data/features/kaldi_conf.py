"""How features are computed, as the config file of Kaldi's programs says it: `conf/mfcc.conf` or `conf/fbank.conf`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unisono.config.build import build
from unisono.config.features import Fbank, Mfcc
from unisono.data.features.extract import check_rate
from unisono.data.kaldi.source import read_lines
from unisono.errors import UserError

# Kaldi's option, ours, and Kaldi's default.
_OPTIONS: dict[str, tuple[str, Any]] = {
    "frame-length": ("frame_length_ms", 25.0),
    "frame-shift": ("frame_shift_ms", 10.0),
    "num-mel-bins": ("num_mel_bins", 23),
    "low-freq": ("low_freq", 20.0),
    "high-freq": ("high_freq", 0.0),
    "use-energy": ("use_energy", True),
    "dither": ("dither", 1.0),
}
_CEPSTRA: dict[str, tuple[str, Any]] = {"num-ceps": ("num_ceps", 13)}
_USE_ENERGY = {"mfcc": True, "fbank": False}
# What our front end does, and nothing else.
_FIXED = {
    "window-type": "povey", "preemphasis-coefficient": 0.97, "energy-floor": 0.0, "raw-energy": True,
    "cepstral-lifter": 22.0, "snip-edges": True, "round-to-power-of-two": True, "htk-compat": False,
    "remove-dc-offset": True, "subtract-mean": False, "use-log-fbank": True, "use-power": True,
}  # fmt: skip
_RATE = ("sample-frequency", 16000.0)


def write_conf(options: Fbank | Mfcc, rate: int) -> tuple[str, dict[str, str]]:
    """Return the name of Kaldi's config file and its options as text; `rate` in Hz."""
    known = _OPTIONS | (_CEPSTRA if options.kind == "mfcc" else {})
    lines = {_RATE[0]: str(rate)} | {key: _text(getattr(options, ours)) for key, (ours, _) in known.items()}
    return f"{options.kind}.conf", lines


def read_conf(path: str | os.PathLike[str], normalisation: Mapping[str, Any]) -> tuple[Fbank | Mfcc, int]:
    """Return features as a config file says, and the sampling rate in Hz.

    Options that it leaves out have Kaldi's defaults; `normalisation` gives deltas, cmvn and cmvn_variance. The file's
    name holds `mfcc` or `fbank`. Raises UserError naming line and option that our front end cannot follow.
    """
    found = re.search("mfcc|fbank", Path(path).name)
    if found is None:
        raise UserError(f"{path}: the name must hold mfcc or fbank: it says which features these are")
    kind = found[0]
    known = _OPTIONS | (_CEPSTRA if kind == "mfcc" else {})
    values = {ours: default for ours, default in known.values()} | {"use_energy": _USE_ENERGY[kind]}
    rate = _RATE[1]
    for number, line in enumerate(read_lines(path), 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        option = re.fullmatch(r"--([\w-]+)(?:=(\S+))?", text)
        where = f"{path}: line {number}"
        if option is None:
            raise UserError(f"{where}: {text[:60]!r} is no option such as --num-mel-bins=23: correct it")
        key, value = option[1].replace("_", "-"), option[2] or "true"
        if key == _RATE[0]:
            rate = _value(value, rate, where)
        elif key in known:
            values[known[key][0]] = _value(value, known[key][1], where)
        elif _value(value, _FIXED.get(key, value), where) != _FIXED.get(key):
            raise UserError(f"{where}: {text[:60]}: our front end has no such setting: give features (--feats)")
    if not 3 <= values["num_mel_bins"] <= 512 or not 1 <= values.get("num_ceps", 1) <= values["num_mel_bins"]:
        raise UserError(f"{path}: num-mel-bins must be 3 to 512, num-ceps no more than these: correct it")
    features = build(Mfcc if kind == "mfcc" else Fbank, {"kind": kind, **values, **normalisation}, os.fspath(path))
    check_rate(features, int(rate))
    return features, int(rate)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _value(text: str, like: Any, where: str) -> Any:
    """Return a value of the type of `like`."""
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(like)(text)
    except (ValueError, KeyError):
        raise UserError(f"{where}: {text[:40]!r} where a value such as {_text(like)} should be: correct it") from None
