"""A finished stack of RBMs as a model file to start from; see `nn.stack`."""

from collections.abc import Sequence

from unisono.config.run import Run
from unisono.config.transform import without_constants
from unisono.data.frames.store import FramesStore
from unisono.engines import constants, seeds
from unisono.engines.store import PathLike
from unisono.nn.model_file import save_model
from unisono.nn.network import make
from unisono.nn.stack import joined


def join(run: Run, train: FramesStore, layers: Sequence[PathLike], out: PathLike) -> None:
    """Write the model whose hidden layers are those of the models `layers`, the lowest first.

    Its first layer takes frames under the run's `network.transform`. Raises UserError where the layers do not chain.
    """
    network = make(without_constants(run.network), train.dim, train.num_pdfs)
    found = [matrix for path in layers for matrix in constants.load([path]).values()]
    params = joined(network.layout, found, seeds.generator_for(run.seed, seeds.INITIAL))
    save_model(out, network.spec(), network.layout, params, None)
