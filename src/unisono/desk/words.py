"""Numbers as people say them."""


def duration(seconds: float) -> str:
    """Return seconds in the unit that fits: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def speech(seconds: float) -> str:
    """Return the length of recordings: minutes below an hour, as `0.3 min`, else hours, as `2.88 h`."""
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def size(number: float) -> str:
    """Return bytes in the unit that fits: `812 kB`, `1.2 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.{1 if number < 10 * scale else 0}f} {unit}"
    return f"{number:.0f} bytes"
