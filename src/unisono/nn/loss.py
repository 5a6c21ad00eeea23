"""Softmax, the summed log-probability and its derivative, in one pass over the logits."""

import torch
from torch import Tensor

from unisono.nn.batch import StepStats

_SMALLEST = 1e-30  # probabilities below this are recomputed: float32 is about to underflow


def posteriors_and_stats(
    logits: Tensor, ids: Tensor, mask: Tensor | None, out: Tensor, deferred: bool = False
) -> StepStats:
    """Write softmax(logits) into `out` and return objective and accuracy.

    logits, out: [N, pdfs], different storage; on a GPU with padding, -inf in the logits. ids: [N] int64 in [0, pdfs).
    mask: [N] of 0 and 1, or None.
    The objective is summed in float64. A frame is correct if p[pdf] is above all others, so that equal posteriors count
    as wrong; two scatters of N numbers and a maximum tell, where an argmax costs 13 times as much.
    """
    torch.softmax(logits, dim=1, out=out)
    column = ids[:, None]
    chosen = out.gather(1, column)
    out.scatter_(1, column, -1.0)
    if deferred:
        best, place = out.max(dim=1, keepdim=True)
    else:
        best, place = out.amax(dim=1, keepdim=True), column
    out.scatter_(1, column, chosen)
    right = (chosen > best)[:, 0]
    log_p = chosen[:, 0].double().log()
    small = ~(chosen[:, 0] >= _SMALLEST)
    if deferred:
        # log p = (logit - largest logit) + log(largest p), which cannot underflow.
        below = (logits.gather(1, column) - logits.gather(1, torch.where(right[:, None], column, place)))[:, 0]
        largest = torch.maximum(chosen, best)[:, 0]
        log_p = torch.where(small, below.double() + largest.double().log(), log_p)
        if mask is None:
            return StepStats(log_p.sum(), right.sum(), len(ids))
        kept = mask > 0
        return StepStats(torch.where(kept, log_p, 0.0).sum(), (right & kept).sum(), kept.sum())
    elif bool(small.any()):
        rows = torch.log_softmax(logits[small].double(), dim=1)
        log_p[small] = rows.gather(1, ids[small][:, None])[:, 0]
    if mask is None:
        return StepStats(float(log_p.sum()), int(right.sum()), len(ids))
    kept = mask > 0
    return StepStats(float(log_p[kept].sum()), int((right & kept).sum()), int(kept.sum()))


def to_error_(posteriors: Tensor, ids: Tensor, mask: Tensor | None) -> None:
    """Turn posteriors [N, pdfs] into the derivative of the loss at the logits, in place: p - 1 at the pdf, p elsewhere.

    Summed over the minibatch, never divided by N. Rows with mask 0 become zero.
    """
    column = ids[:, None]
    posteriors.scatter_(1, column, posteriors.gather(1, column).sub_(1.0))
    if mask is not None:
        posteriors.mul_(mask[:, None])
