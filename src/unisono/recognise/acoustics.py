"""Acoustic models of either kind, as functions from an utterance to the log-likelihoods of its frames."""

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from unisono.errors import UserError

if TYPE_CHECKING:
    import torch

    from unisono.hmm.model import HmmModel

LogLikelihoods = Callable[[str], npt.NDArray[np.float32]]
Device = Callable[[], "torch.device"]


def cpu() -> "torch.device":
    """Return the CPU."""
    import torch

    return torch.device("cpu")


class Features(Protocol):
    """Where features come from, by utterance id.

    `FeatureReader` (data/features/reader.py), `RecordingFeatures` or `KaldiFeatures` (data/features/kaldi.py).
    """

    @property
    def dim(self) -> int:
        """Return the number of features a frame."""
        ...

    def get(self, utt: str) -> np.ndarray:
        """Return features after CMVN and deltas, float32 [t, dim]."""
        ...


def scorer(
    system: Literal["gmm", "dnn"],
    network: str | None,
    threads: int,
    reader: Features,
    hmm: "HmmModel",
    device: Device = cpu,
) -> LogLikelihoods:
    """Return a function from an utterance id to its log-likelihoods, float32 [frames, pdfs].

    GMM: log p(x | pdf). DNN: see `network_scorer`; `network` is its file. Raises UserError where it is missing.
    """
    if system == "gmm":
        return lambda utterance: hmm.log_likelihoods(reader.get(utterance))
    if not network:
        raise UserError("--network: missing: --system dnn needs the trained network")
    return network_scorer(network, threads, reader, hmm.num_pdfs, device=device)


def network_scorer(
    path: str | os.PathLike[str],
    threads: int,
    reader: Features,
    num_pdfs: int | None = None,
    priors: bool = True,
    device: Device = cpu,
) -> LogLikelihoods:
    """Return a function from an utterance id to log p(pdf | x) - log p(pdf), float32 [frames, pdfs].

    That is log p(x | pdf) up to a constant a frame (Bourlard & Morgan 1994); without `priors` it is log p(pdf | x).
    `num_pdfs` of the HMM it goes with is compared, if given. device: asked for in the process that computes, at its
    first utterance. Raises UserError where network, HMM and features do not fit together.
    """
    import torch

    from unisono.nn.model_file import load_model, network_of

    torch.set_num_threads(threads)
    model = load_model(path)
    network = network_of(model.network, constants=model.constants)
    if num_pdfs is not None and network.num_pdfs != num_pdfs:
        raise UserError(
            f"{path}: the network has {network.num_pdfs} outputs, the HMM {num_pdfs} pdfs: use the HMM of its training"
        )
    if network.feature_dim != reader.dim:
        raise UserError(
            f"{path}: the network takes {network.feature_dim} features a frame, these are {reader.dim}: "
            "use the features it was trained on"
        )
    log_prior = model.log_prior if priors else torch.zeros(network.num_pdfs)
    if log_prior is None:
        raise UserError(f"{path}: no log_prior: decode final.safetensors, not a model of an iteration")

    @functools.cache
    def prior_here() -> torch.Tensor:
        here = device()
        network.bind(model.flat.to(here))
        return log_prior.to(here)

    def log_likelihoods(utterance: str) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            prior = prior_here()
            return (network.log_posteriors(torch.from_numpy(reader.get(utterance))) - prior).cpu().numpy()

    return log_likelihoods
