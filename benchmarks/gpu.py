"""On a GPU: frames per second by CUDA events, and the fraction of the card's own bf16 rate on the same products."""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.ours import NG, SGD_FULL, Ours
from benchmarks.setting import Size, write_store
from benchmarks.timing import Results, put, spread
from unisono.core import flat
from unisono.core.products import Precision
from unisono.engines.place import place_for

# Hidden layers, their width, outputs, minibatch.
NETWORKS = {"gpu_small": (4, 1024, 2000, 2048), "gpu_large": (6, 2048, 8850, 4096)}
# A block is a slice as it is in training: a vector comes from the host and goes back to it.
WARM_UP, STEPS, BLOCKS = 24, 128, 5
NO_GPU = "skipped: no GPU is visible to torch: look at nvidia-smi, CUDA_VISIBLE_DEVICES and whether torch has CUDA"
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")


def measure(folder: Path, size: Size) -> Results:
    """Return <network>_<precision>[_ng]_frames_per_s and <network>_bf16[_ng]_gemm_fraction; a note where no GPU is."""
    if not torch.cuda.is_available():
        return {"gpu_note": NO_GPU}
    results: Results = {"gpu": torch.cuda.get_device_name(0), "cuda": str(torch.version.cuda)}
    for name, (layers, width, pdfs, minibatch) in NETWORKS.items():
        shape = size._replace(width=width, pdfs=pdfs, minibatch=minibatch, steps=STEPS // 4)
        store = folder / f"{name}.h5"
        write_store(store, (WARM_UP + (BLOCKS + 2) * STEPS) * minibatch, pdfs)
        factors = products(layers, width, pdfs, minibatch, place_for("cuda", 0, "float32").device)
        limit = rate(partial(multiply, factors), STEPS * minibatch)
        put(results, f"{name}_gemm_frames_per_s", spread(limit))
        for precision in PRECISIONS:
            for suffix, optimiser in (("", SGD_FULL), ("_ng", NG)):
                key = f"{name}_{precision}{suffix}"
                found = steps(store, shape, layers, optimiser, precision)
                put(results, f"{key}_frames_per_s", spread(found))
                if precision == "bf16":
                    results[f"{key}_gemm_fraction"] = round(statistics.median(found) / statistics.median(limit), 4)
    return results


def steps(store: Path, size: Size, layers: int, optimiser: dict[str, Any], precision: Precision) -> list[float]:
    """Return frames per second of our step through `Worker`, data path included, in blocks of a few minibatches."""
    place = place_for("cuda", 0, precision)
    network = {"kind": "dnn", "hidden": [size.width] * layers, "nonlinearity": "relu", "context": [5, 5]}
    ours = Ours(store, size, optimiser, place=place, network=network, precision=precision)
    ours.train(WARM_UP)
    return rate(partial(ours.train, STEPS), STEPS * size.minibatch)


def products(
    layers: int, width: int, pdfs: int, rows: int, device: torch.device
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return factors in bfloat16 of the products that a step needs: forward, data and weight gradients.

    Padded as the step's are, since products on other lengths fall back to slower kernels.
    """

    def factors(n: int, k: int, m: int) -> tuple[torch.Tensor, torch.Tensor]:
        short = partial(torch.randn, device=device, dtype=torch.bfloat16)
        return short(n, k), short(k, m)

    widths = [flat.padded(440), *[flat.padded(width)] * layers, flat.padded(pdfs)]
    found = []
    for index, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        found += [factors(rows, inputs, outputs), factors(outputs, rows, inputs)]
        if index:
            found.append(factors(rows, outputs, inputs))
    return found


def multiply(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Form all products, as often as a block has steps."""
    for _ in range(STEPS):
        for a, b in pairs:
            torch.mm(a, b)


def rate(work: Callable[[], object], frames: int) -> list[float]:
    """Return frames per second of `work`, by CUDA events, in so many blocks."""
    work()
    found = []
    for _ in range(BLOCKS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        found.append(1e3 * frames / begin.elapsed_time(end))
    return found
