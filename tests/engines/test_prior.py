"""The prior of decoding: counts of the alignment, or the network's mean posteriors."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support import miniature
from unisono.data.frames.store import FramesStore
from unisono.engines.prior import log_prior, posterior_sums
from unisono.nn.module import load


def slow_mean_posterior(model, store):
    """Frame by frame: the posterior of each frame of each utterance, edges repeated by the module itself."""
    total, frames = np.zeros(store.num_pdfs), 0
    for begin, end in zip(store.offsets[:-1], store.offsets[1:], strict=True):
        posteriors = model(torch.from_numpy(store.read(int(begin), int(end)).astype("f4"))).exp().double()
        for row in posteriors.detach().numpy():
            total, frames = total + row, frames + 1
    return total / frames


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose prior is of posteriors, with a moving average beside the last model."""
    changes = miniature.config(prior="posteriors", observers__ema={"decay": 0.5, "start": 0.2}, final_model="ema")
    task = miniature.Task(tmp_path_factory.mktemp("prior"), changes)
    task.virtual()
    return task


@pytest.mark.parametrize("candidate", ["last", "ema"])
def test_each_model_gets_its_own_mean_posterior(trained, candidate):
    path = trained.folder / "models" / f"{candidate}.safetensors"
    mean = slow_mean_posterior(load(path), trained.train)
    expected = np.log((mean + 0.01 * mean.mean()) / (mean + 0.01 * mean.mean()).sum())
    np.testing.assert_allclose(load_file(path)["log_prior"].numpy(), expected, atol=2e-6)
    counts = trained.train.pdf_counts / trained.train.pdf_counts.sum()
    assert np.abs(mean - counts).max() > 1e-4, "the two priors cannot be told apart here"


def test_the_final_model_has_the_prior_of_its_candidate(trained):
    final = load_file(trained.folder / "final.safetensors")["log_prior"]
    assert torch.equal(final, load_file(trained.folder / "models/ema.safetensors")["log_prior"])
    assert not torch.equal(final, load_file(trained.folder / "models/last.safetensors")["log_prior"])


def test_a_network_that_knows_nothing_has_a_flat_prior(tmp_path):
    task = miniature.Task(tmp_path)
    network = task.network
    network.bind(torch.zeros(network.layout.size))
    assert torch.allclose(log_prior("posteriors", network, task.train).exp(), torch.full((9,), 1 / 9))
    counts = task.train.pdf_counts + 0.01 * task.train.pdf_counts.mean()
    assert np.allclose(log_prior("alignment", network, task.train).exp().numpy(), counts / counts.sum())


def test_only_as_many_utterances_as_are_needed(tmp_path):
    task = miniature.Task(tmp_path)
    store = FramesStore(task.folder / "train.h5")
    network = task.network
    network.bind(torch.zeros(network.layout.size))
    for frames in (1, 300, store.frames):
        taken = posterior_sums(network, store, frames).sum()
        assert frames <= taken + 0.01 < 0.02 + frames + store.lengths.max()
    assert np.isclose(posterior_sums(network, store, store.frames + 1).sum(), store.frames)
