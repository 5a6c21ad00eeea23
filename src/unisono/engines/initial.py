"""What a run starts from: random parameters, or those of a model file."""

from torch import Tensor

from unisono.data.frames.store import FramesStore
from unisono.engines.run import Run, generator_for, make_network
from unisono.errors import UserError
from unisono.nn.model_file import load_model

_INITIAL = 3  # purpose in the generator's key


def initial_parameters(run: Run, store: FramesStore, model_path: str | None) -> Tensor:
    """Return parameters [P] for the store's features and pdfs.

    model_path: a model file, for `initialisation.kind: model`. Raises UserError where it is of another network.
    """
    network = make_network(run, store)
    if run.initialisation.kind == "random":
        return network.initial_parameters(run.initialisation, generator_for(run.seed, _INITIAL))
    path = model_path or run.initialisation.path
    if not path:
        raise UserError("initialisation.path: kind model needs the path of a model")
    loaded = load_model(path, network.layout)
    for key in ("nonlinearity", "context"):
        found, wanted = loaded.network[key], network.spec()[key]
        if found != wanted:
            raise UserError(f"{path}: its network has {key} {found}, the config says {wanted}: make them equal")
    return loaded.flat
