"""What tune and decode share: an acoustic model of either kind, the graph and the features of one split."""

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from unisono.data.features.extract import FeatureOptions
from unisono.data.features.reader import FeatureReader
from unisono.errors import UserError
from unisono.options import from_json

if TYPE_CHECKING:
    from unisono.hmm.model import HmmModel

LogLikelihoods = Callable[[str], npt.NDArray[np.float32]]


class Features(Protocol):
    """Where features come from, by utterance id: FeatureReader, RecordingFeatures or KaldiFeatures."""

    @property
    def dim(self) -> int:
        """Return the number of features a frame."""
        ...

    def get(self, utt: str) -> np.ndarray:
        """Return features after CMVN and deltas, float32 [t, dim]."""
        ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of both commands."""
    parser.add_argument("--system", required=True, choices=("gmm", "dnn"), help="kind of acoustic model")
    parser.add_argument("--table", required=True, help="utterance table of the split")
    parser.add_argument("--features", required=True, nargs="+", help="feature files of what is decoded")
    parser.add_argument("--cmvn", required=True, help="CMVN statistics that go with the features")
    parser.add_argument("--feature-options", required=True, help="config section of these features as JSON")
    parser.add_argument("--lang-dir", required=True, help="language directory")
    parser.add_argument("--hmm-model", required=True, help="model.h5 of the HMM that the graph was built from")
    parser.add_argument("--network", help="final.safetensors, where --system is dnn")
    parser.add_argument("--graph", required=True, help="HCLG.fst")
    parser.add_argument("--options", required=True, help="config section decode as JSON")
    parser.add_argument("--processes", type=int, default=1, help="processes; no result depends on their number")


def open_reader(args: argparse.Namespace, shard: int | None = None) -> FeatureReader:
    """Open the features of the split, or of one shard of it."""
    options = from_json(FeatureOptions, args.feature_options, "--feature-options")
    return FeatureReader(args.table, args.features, args.cmvn, options, shard)


def scorer(args: argparse.Namespace, reader: FeatureReader, hmm: "HmmModel") -> LogLikelihoods:
    """Return a function from an utterance id to its log-likelihoods, float32 [frames, pdfs].

    GMM: log p(x | pdf). DNN: log p(pdf | x) - log p(pdf), which is log p(x | pdf) up to a constant a frame
    (Bourlard & Morgan 1994). Raises UserError where network, HMM and features do not fit together.
    """
    if args.system == "gmm":
        return lambda utterance: hmm.log_likelihoods(reader.get(utterance))
    if not args.network:
        raise UserError("--network: missing: --system dnn needs the trained network")
    return network_scorer(args.network, args.threads, reader, hmm.num_pdfs)


def network_scorer(
    path: str | os.PathLike[str], threads: int, reader: Features, num_pdfs: int | None = None, priors: bool = True
) -> LogLikelihoods:
    """Return a function from an utterance id to a network's log-likelihoods; see `scorer`.

    `num_pdfs` of the HMM it goes with is compared, if given; without `priors` these are the log-posteriors.
    """
    import torch

    from unisono.nn.model_file import load_model, network_of

    torch.set_num_threads(threads)
    model = load_model(path)
    network = network_of(model.network)
    if num_pdfs is not None and network.num_pdfs != num_pdfs:
        raise UserError(
            f"{path}: the network has {network.num_pdfs} outputs, the HMM {num_pdfs} pdfs: use the HMM of its training"
        )
    if network.feature_dim != reader.dim:
        raise UserError(
            f"{path}: the network takes {network.feature_dim} features a frame, these are {reader.dim}: "
            "use the features it was trained on"
        )
    if priors and model.log_prior is None:
        raise UserError(f"{path}: no log_prior: decode final.safetensors, not a model of an iteration")
    network.bind(model.flat)
    log_prior = model.log_prior if priors else torch.zeros(network.num_pdfs)
    left, right = network.context

    def log_likelihoods(utterance: str) -> npt.NDArray[np.float32]:
        frames = torch.from_numpy(reader.get(utterance))
        if not len(frames):
            return np.zeros((0, network.num_pdfs), np.float32)
        # Beyond the ends the first and the last frame are repeated, as in training.
        steps = torch.arange(len(frames))[:, None] + torch.arange(-left, right + 1)
        spliced = frames[steps.clamp(0, len(frames) - 1)].flatten(1)
        with torch.no_grad():
            return (network.log_posteriors(spliced) - log_prior).numpy()

    return log_likelihoods
