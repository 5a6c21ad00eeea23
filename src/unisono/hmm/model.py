"""A Gaussian HMM: topology, tree, transition probabilities, mixtures; kept in one HDF5 file without pickles.

`model.h5` (format "unisono.hmm/1"): `tree` uint8 (Kaldi's binary ContextDependency), `topology` uint8 (Kaldi's text,
UTF-8), `transition_log_probs` float32 [transition-ids + 1] (entry 0 unused), `weights` float32 [G], `means` and
`variances` float32 [G, D], `offsets` int64 [P + 1]; attribute `feature_options`, JSON with sorted keys. A model on
transformed features (LDA+MLLT) also has `transform` float32 [D, (2 splice + 1) features] and the attribute `splice`.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from unisono.errors import UserError
from unisono.files import atomic_path
from unisono.hmm.gmm import Gmms, Scorer
from unisono.hmm.libs import khg
from unisono.hmm.transform import apply

FORMAT = "unisono.hmm/1"
_KINDS = {
    "tree": ("u1", 1),
    "topology": ("u1", 1),
    "transition_log_probs": ("<f4", 1),
    "weights": ("<f4", 1),
    "means": ("<f4", 2),
    "variances": ("<f4", 2),
    "offsets": ("<i8", 1),
}


@dataclasses.dataclass(frozen=True)
class HmmModel:
    """An HMM whose states share the PDFs that its tree gives them. Objects of the wheels are made on first use."""

    tree_bytes: bytes
    topology: str
    transition_log_probs: NDArray[np.float32]
    gmms: Gmms
    feature_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    transform: NDArray[np.float32] | None = None  # [D, (2 splice + 1) dim], of spliced frames
    splice: int = 0  # frames on either side

    @functools.cached_property
    def tree(self) -> Any:
        """Return the tree as khg.ContextDependency."""
        return context_dependency(self.tree_bytes)

    @functools.cached_property
    def transition_model(self) -> Any:
        """Return khg.TransitionModel with this model's transition probabilities."""
        return transition_model(self.tree, self.topology, self.transition_log_probs)

    @functools.cached_property
    def id2pdf(self) -> NDArray[np.int32]:
        """Return the PDF of each transition-id, [transition-ids + 1]; entry 0 is -1, since ids begin with 1."""
        ids = np.array(self.transition_model.transition_id_to_pdf_array(), np.int32)
        ids[0] = -1
        return ids

    @property
    def num_pdfs(self) -> int:
        """Return the number of PDFs."""
        return self.gmms.num_pdfs

    @property
    def dim(self) -> int:
        """Return the dimension of the features, after deltas, before the model's own splicing and transform."""
        if self.transform is not None:
            return self.transform.shape[1] // (2 * self.splice + 1)
        return self.gmms.means.shape[1]

    @property
    def context_width(self) -> int:
        """Return the number of phones that the tree looks at: 1 or 3."""
        return self.tree.context_width

    @property
    def central_position(self) -> int:
        """Return the place of the phone itself in its context: 0 or 1."""
        return self.tree.central_position

    @functools.cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self.gmms)

    def transformed(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the mixtures see, float32 [T, D], for the frames [T, dim] of one whole utterance."""
        return frames if self.transform is None else apply(frames, self.splice, self.transform)

    def log_likelihoods(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return log p(x_t | pdf), [T, num_pdfs] float32, for frames [T, dim] after CMVN and deltas.

        The frames are those of one whole utterance: a model with a transform splices them first.
        """
        if not len(self.gmms.weights):
            raise UserError("this HMM has no mixtures, its acoustic model is a network: decode with that")
        check_dimension(self, frames, "the features")
        return self._scorer(self.transformed(np.asarray(frames, np.float32)))

    @functools.cached_property
    def am_gmm(self) -> Any:
        """Return the mixtures as khg.AmDiagGmm, for the wheels' own decodable objects."""
        acoustic, offsets = khg.AmDiagGmm(), self.gmms.offsets
        for pdf in range(self.num_pdfs):
            own = slice(offsets[pdf], offsets[pdf + 1])
            gmm = khg.DiagGmm(int(offsets[pdf + 1] - offsets[pdf]), self.gmms.means.shape[1])
            gmm.set_weights(self.gmms.weights[own])
            gmm.set_invvars_and_means(1.0 / self.gmms.variances[own], self.gmms.means[own])
            gmm.compute_gconsts()
            acoustic.add_pdf(gmm)
        return acoustic


def check_dimension(model: HmmModel, frames: NDArray[np.floating], where: str) -> None:
    """Raise UserError if frames [T, D] do not have the dimension that the model was trained on."""
    if frames.ndim != 2 or frames.shape[1] != model.dim:
        found = frames.shape[1] if frames.ndim == 2 else frames.shape
        raise UserError(f"{where}: {found} dimensions, but the HMM was trained on {model.dim}: use the same features")


def context_dependency(blob: bytes) -> Any:
    """Make khg.ContextDependency from Kaldi's binary tree (without the leading zero and B)."""
    tree = khg.ContextDependency.__new__(khg.ContextDependency)
    # The wheel reads its state as signed characters.
    tree.__setstate__(([byte if byte < 128 else byte - 256 for byte in blob],))
    return tree


def hmm_topology(text: str) -> Any:
    """Make khg.HmmTopology from Kaldi's text form."""
    topology = khg.HmmTopology()
    topology.read(text)
    return topology


def transition_model(tree: Any, topology: str, log_probs: NDArray[np.floating] | None = None) -> Any:
    """Make khg.TransitionModel; without `log_probs` [ids + 1] its probabilities are those of the topology."""
    model = khg.TransitionModel(tree, hmm_topology(topology))
    if log_probs is None:
        return model
    state = list(model.__getstate__())
    if len(log_probs) != len(state[-2]):
        raise UserError(f"the model has {len(log_probs) - 1} transitions, its tree {len(state[-2]) - 1}: train it anew")
    away = [0.0]
    for number in range(1, len(model.tuples) + 1):
        loop = _self_loop(model, state[2], number)
        away.append(0.0 if loop is None else float(np.log1p(-np.exp(np.float64(log_probs[loop])))))
    state[-2], state[-1] = [float(value) for value in log_probs], away
    built = khg.TransitionModel.__new__(khg.TransitionModel)
    built.__setstate__(tuple(state))
    return built


def _self_loop(model: Any, first_ids: list[int], number: int) -> int | None:
    return next((i for i in range(first_ids[number], first_ids[number + 1]) if model.is_self_loop(i)), None)


def save_model(path: str | Path, model: HmmModel) -> None:
    """Write `model.h5`; equal models give equal bytes."""
    arrays = {
        "tree": np.frombuffer(model.tree_bytes, np.uint8),
        "topology": np.frombuffer(model.topology.encode(), np.uint8),
        "transition_log_probs": model.transition_log_probs,
        **model.gmms._asdict(),
    }
    with atomic_path(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        file.attrs["format"] = FORMAT
        file.attrs["feature_options"] = json.dumps(model.feature_options, sort_keys=True)
        for name, (kind, _) in _KINDS.items():
            file.create_dataset(name, data=np.asarray(arrays[name], kind))
        if model.transform is not None:
            file.attrs["splice"] = model.splice
            file.create_dataset("transform", data=np.asarray(model.transform, "<f4"))


def load_model(path: str | Path) -> HmmModel:
    """Read `model.h5`. Raises UserError naming the file where it is missing, damaged or of another format."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file: run the stage that makes it")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise UserError(f"{path}: not an HMM of format {FORMAT}: train it anew")
            arrays = {name: _read(file, name, kind, rank) for name, (kind, rank) in _KINDS.items()}
            options = json.loads(str(file.attrs["feature_options"]))
            transform = _read(file, "transform", "<f4", 2) if "transform" in file else None
            splice = 0 if transform is None else int(str(file.attrs["splice"]))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: damaged ({error}): delete it and train it anew") from None
    gmms = Gmms(arrays["weights"], arrays["means"], arrays["variances"], arrays["offsets"])
    _check(path, gmms)
    if transform is not None:
        _check_transform(path, gmms, transform, splice)
    text = arrays["topology"].tobytes().decode()
    return HmmModel(arrays["tree"].tobytes(), text, arrays["transition_log_probs"], gmms, options, transform, splice)


def _read(file: h5py.File, name: str, kind: str, rank: int) -> NDArray[Any]:
    # A link out of the file could make it read something else: only plain datasets in the file itself are taken.
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is missing or a link")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.dtype(kind) or dataset.ndim != rank:
        raise ValueError(f"{name} is not a {kind} array of {rank} dimensions")
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{name} lies outside the file")
    return dataset[()]


def _check(path: str | Path, gmms: Gmms) -> None:
    count = len(gmms.weights)
    whole = gmms.means.shape == gmms.variances.shape and len(gmms.means) == count == gmms.offsets[-1]
    # A system whose acoustic model is a network has PDFs without mixtures: all of them, or none.
    if not whole or gmms.offsets[0] != 0 or (np.diff(gmms.offsets) < min(count, 1)).any():
        raise UserError(f"{path}: its mixtures do not fit together: delete it and train it anew")
    if (
        not all(np.isfinite(part).all() for part in gmms[:3])
        or (gmms.variances <= 0).any()
        or (gmms.weights <= 0).any()
    ):
        raise UserError(f"{path}: its mixtures have values that are not finite or not positive: train it anew")


def _check_transform(path: str | Path, gmms: Gmms, transform: NDArray[np.float32], splice: int) -> None:
    fits = transform.shape[0] == gmms.means.shape[1] and splice >= 0 and transform.shape[1] % (2 * splice + 1) == 0
    if not fits or not np.isfinite(transform).all():
        raise UserError(f"{path}: its transform does not fit its mixtures: delete it and train it anew")
