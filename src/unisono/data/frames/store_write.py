"""Writing a frames store (see `unisono.data.frames.store` for what is in it), one utterance at a time."""

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from unisono.data.frames.store import KIND
from unisono.data.sequences import SequenceWriter
from unisono.errors import UserError


def write_frames(
    path: str | os.PathLike[str],
    items: Iterable[tuple[str, np.ndarray, np.ndarray]],
    *,
    num_pdfs: int,
    frame_shift_s: float,
    dtype: str,
    rows: int | None = None,
) -> dict[str, Any]:
    """Write (utterance id, frames [t, D], pdf_ids [t]) in sorted order; atomic.

    Returns frames, utterances, lengths (frames of each utterance) and dim.

    dtype: float16 or float32. rows: the total of t where it is known (saves a copy on disk).
    Raises UserError for a pdf_id outside 0..num_pdfs-1, and for values that do not fit into 16 bits.
    """
    digest, counts, dim, lengths = hashlib.sha256(), np.zeros(num_pdfs, np.int64), 0, list[int]()
    with SequenceWriter(
        path, kind=KIND, attrs={"num_pdfs": num_pdfs, "frame_shift_s": frame_shift_s}, rows=rows
    ) as writer:
        for utt, frames, ids in items:
            with np.errstate(over="ignore"):
                stored = np.ascontiguousarray(frames, dtype=dtype)
            if not np.isfinite(stored).all():
                raise UserError(f"{utt}: features do not fit into {dtype}: set data.dtype to float32 or normalise them")
            if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < num_pdfs:
                raise UserError(f"{utt}: pdf_id outside 0..{num_pdfs - 1}: align anew with the tree of this model")
            labels = np.ascontiguousarray(ids, dtype=np.int32)
            writer.add(utt, frames=stored, ids=labels)
            digest.update(f"{utt}\0{len(labels)}\0".encode())
            digest.update(stored.data if stored.size else b"")
            digest.update(labels.data if labels.size else b"")
            counts += np.bincount(labels, minlength=num_pdfs)
            dim = stored.shape[1]
            lengths.append(len(labels))
        if not lengths:
            raise UserError(f"{path}: no utterance is left: see the alignment's report for the reasons")
        writer.attrs |= {"dim": dim, "digest": digest.hexdigest()}
        writer.extra["pdf_counts"] = counts
    return {"frames": int(counts.sum()), "utterances": len(lengths), "lengths": lengths, "dim": dim}
