"""Log-likelihoods of a network: those of the module that users load, computed where the process chooses."""

import os

import numpy as np
import pytest
import torch

from tests.support import scoring
from tests.support.miniature import TENANTS
from unisono.nn.module import load


@pytest.mark.parametrize("tenant", ["", *TENANTS])
def test_they_are_those_of_the_loaded_module(tmp_path, tenant):
    scoring.write_model(tmp_path / "model", tenant)
    module = load(tmp_path / "model")
    for frames, found in zip(scoring.features(), scoring.scores(tmp_path / "model", "auto", 2), strict=True):
        with torch.no_grad():
            wanted = module.log_likelihoods(torch.from_numpy(frames)).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("processes", [1, 3])
def test_each_process_that_computes_chooses_its_device_once(tmp_path, processes):
    """The process that forks them never does: it would start CUDA, which its copies could then not use."""
    scoring.write_model(tmp_path / "model", "")

    def choose():
        with (tmp_path / "chosen").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return torch.device("cpu")

    scoring.scores(tmp_path / "model", choose, processes)
    chosen = list(map(int, (tmp_path / "chosen").read_text().split()))
    assert len(set(chosen)) == len(chosen) <= processes and (os.getpid() in chosen) == (processes == 1)
