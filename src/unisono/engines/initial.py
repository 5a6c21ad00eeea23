"""What a run starts from: random parameters, or those of a model file, given or pretrained."""

from torch import Tensor

from unisono.config.network import Drawn
from unisono.engines import seeds
from unisono.engines.session import Session
from unisono.errors import UserError
from unisono.nn.model_file import load_model


def initial_parameters(session: Session, model_path: str | None = None) -> Tensor:
    """Return parameters [P] for the features and pdfs of a run's data.

    model_path: a model file, for `initialisation.kind: model` and `rbm`.
    Raises UserError where it is of another network.
    """
    run, network = session.run, session.network_at(-1)
    if isinstance(run.initialisation, Drawn):
        return network.initial_parameters(
            run.initialisation, seeds.generator_for(run.seed, seeds.INITIAL), session.utterances
        )
    path = model_path or (run.initialisation.path if run.initialisation.kind == "model" else None)
    if not path:
        raise UserError(f"initialisation.kind: {run.initialisation.kind} needs a model: give it by --model")
    if (kind := load_model(path).network["kind"]) != run.network.kind:
        raise UserError(f"{path}: its network is of kind {kind}, the config says {run.network.kind}: make them equal")
    loaded = load_model(path, network.layout)
    for key, wanted in network.spec().items():
        found = loaded.network.get(key)
        if found != wanted:
            raise UserError(f"{path}: its network has {key} {found}, the config says {wanted}: make them equal")
    return loaded.flat
