"""The training step: plain, full and natural-gradient SGD against the machine's limit, PyTorch, and bf16."""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.ours import NG, SGD, SGD_FULL, Ours, frames_needed, gemm_limit
from benchmarks.peers import peer
from benchmarks.setting import Size, write_store
from benchmarks.timing import Results, paired, pinned, put, ratio

STEPS = {"sgd": SGD, "full": SGD_FULL, "ng": NG}


def measure(folder: Path, size: Size) -> Results:
    """Return sgd_gemm_fraction, sgd_full_gemm_fraction, ng_over_sgd, ng_gemm_fraction, sgd_over_eager, ...compiled.

    And <sgd, full, ng>_bf16_over_float32: the same step with products in bf16.
    """
    torch.set_num_threads(1)
    with pinned():
        return _measure(folder, size)


def _measure(folder: Path, size: Size) -> Results:
    results: Results = {}
    store = folder / "steps.h5"
    write_store(store, frames_needed(size), size.pdfs)
    ours = {name: Ours(store, size, options) for name, options in STEPS.items()}
    ours |= {f"{name}_bf16": Ours(store, size, options, precision="bf16") for name, options in STEPS.items()}
    trainers: dict[str, Callable[[int], None]] = {name: one.train for name, one in ours.items()}
    trainers["eager"] = peer(size, compiled=False)
    if size.compiled:
        trainers["compiled"] = peer(size, compiled=True)
    for name in list(trainers):
        try:
            trainers[name](size.warm_up)
        except Exception as error:  # no compiler, or one that torch cannot use: the rest is still worth measuring
            if name != "compiled":
                raise
            results["compiled_note"] = " ".join(str(error).split())[:200]
            del trainers[name]
    products, operations = gemm_limit(ours["sgd"].network, size.minibatch)
    variants: dict[str, Callable[[], object]] = {n: partial(train, size.steps) for n, train in trainers.items()}
    variants["gemm"] = lambda: [products() for _ in range(size.steps)]
    seconds = paired(variants, size.blocks)
    put(results, "sgd_gemm_fraction", ratio(seconds["gemm"], seconds["sgd"]))
    put(results, "sgd_full_gemm_fraction", ratio(seconds["gemm"], seconds["full"]))
    put(results, "ng_gemm_fraction", ratio(seconds["gemm"], seconds["ng"]))
    put(results, "ng_over_sgd", ratio(seconds["ng"], seconds["sgd"]))
    for name in ("eager", "compiled"):
        if name in seconds:
            put(results, f"sgd_over_{name}", ratio(seconds["sgd"], seconds[name]))
            put(results, f"{name}_gemm_fraction", ratio(seconds["gemm"], seconds[name]))
    for name in STEPS:
        put(results, f"{name}_bf16_over_float32", ratio(seconds[f"{name}_bf16"], seconds[name]))
    frames = size.steps * size.minibatch
    results["gemm_gflops"] = round(1e-9 * operations * size.steps / statistics.median(seconds["gemm"]), 1)
    for name in ours:
        results[f"{name}_frames_per_s"] = round(frames / statistics.median(seconds[name]), 1)
    results["blocks"] = size.blocks
    return results
