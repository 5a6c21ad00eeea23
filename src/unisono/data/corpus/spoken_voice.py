"""One voice of espeak-ng in a process of its own: sentences on standard input, samples on standard output.

Run as a file by `unisono.data.corpus.spoken`; the standard library only, so that a child starts fast.
espeak-ng keeps state from sentence to sentence, and some voices seed it from the clock: the same bytes come only
from a fresh process that speaks the same sentences in the same order, with a seed set before each.

Input, one JSON object: library, data, voice, rate (words a minute), pitch and range (0 to 100), sentences: list of
[seed, text]. Output: sampling rate, then per sentence the number of samples and the samples; little-endian int32
and int16. Any return code of espeak-ng that is not zero ends the process with a line on standard error.
"""

import ctypes
import json
import struct
import sys
from typing import Any

_SYNCHRONOUS = 2
_RATE, _PITCH, _RANGE = 1, 3, 4
_CHARACTERS_UTF8 = 1


def main() -> None:
    """Speak everything that standard input asks for."""
    task = json.load(sys.stdin)
    library = ctypes.CDLL(task["library"])
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, task["data"].encode(), 0)
    if rate <= 0:
        sys.exit(f"espeak_Initialize returned {rate}")
    pieces: list[bytes] = []
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    def collect(samples: Any, count: int, _: int | None) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = kind(collect)  # kept in a name: the library holds only its address
    library.espeak_SetSynthCallback(callback)
    _demand(library.espeak_SetVoiceByName(task["voice"].encode()), f"espeak_SetVoiceByName({task['voice']})")
    for parameter, name in ((_RATE, "rate"), (_PITCH, "pitch"), (_RANGE, "range")):
        _demand(library.espeak_SetParameter(parameter, task[name], 0), f"espeak_SetParameter({name})")
    sys.stdout.buffer.write(struct.pack("<i", rate))
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint]
    library.espeak_Synth.argtypes += [ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]
    for seed, text in task["sentences"]:
        pieces.clear()
        _demand(library.espeak_ng_SetRandSeed(seed), "espeak_ng_SetRandSeed")
        coded = text.encode()
        _demand(library.espeak_Synth(coded, len(coded) + 1, 0, 1, 0, _CHARACTERS_UTF8, None, None), "espeak_Synth")
        spoken = b"".join(pieces)
        sys.stdout.buffer.write(struct.pack("<i", len(spoken) // 2) + spoken)


def _demand(code: int, call: str) -> None:
    if code != 0:
        sys.exit(f"{call} returned {code}")


if __name__ == "__main__":
    main()
