"""The keys of `initialisation: {kind: rbm}`: another value gives other RBMs."""

from tests.support.keys import training
from tests.support.keys.row import Row
from tests.support.pretraining import layers

MINIATURE = training.MINIATURE | {
    "network": {"kind": "dnn", "hidden": [8], "nonlinearity": "sigmoid", "context": [1, 1], "transform": "normalise"},
    "initialisation": {
        "kind": "rbm",
        "minibatch": 20,
        "gaussian": {"epochs": 1},
        "momentum": {"ramp_frames": 300, "steps": 4},
        "parallel": {"period_frames": 80, "workers": 2},
    },
}


class Store(training.Store):
    """Frames to pretrain on, made once."""

    def train(self, folder, settings):
        """Return the RBMs of all layers of a run, and the numbers of their courses."""
        tasks = layers(folder, settings, lambda task: task.virtual(), self.task)
        return [(training.tensors(task.folder / "final.safetensors"), task.metrics()) for task in tasks]


MOMENTUM, PARALLEL = "initialisation.momentum", "initialisation.parallel"
BMUF = {f"{PARALLEL}.combine": "bmuf"}
RAMP = {f"{PARALLEL}.workers": {"initial": 1, "final": 2}}
TWO_LAYERS = {"network.hidden": [8, 6]}

ROWS = [
    Row("initialisation.kind", ["rbm"]),
    Row("initialisation.minibatch", [20], {f"{PARALLEL}.period_frames": 100}),
    Row("initialisation.cd_steps", [2]),
    Row("initialisation.visible", ["sample"]),
    Row("initialisation.weight_decay", [0.1]),
    Row(f"{MOMENTUM}.initial", [0.1]),
    Row(f"{MOMENTUM}.final", [0.7]),
    Row(f"{MOMENTUM}.steps", [4]),
    Row(f"{MOMENTUM}.ramp_frames", [300]),
    Row(f"{MOMENTUM}.ramp", ["local"]),
    Row(f"{MOMENTUM}.final_at_once", [True]),
    Row("initialisation.gaussian.learning_rate", [0.02]),
    Row("initialisation.gaussian.epochs", [1]),
    Row("initialisation.bernoulli.learning_rate", [0.1], TWO_LAYERS),
    Row("initialisation.bernoulli.epochs", [2], TWO_LAYERS),
    Row(f"{PARALLEL}.workers", [2]),
    Row(f"{PARALLEL}.workers.initial", [1, 2], RAMP, refused=True),
    Row(f"{PARALLEL}.workers.final", [2, 3], RAMP, refused=True),
    Row(f"{PARALLEL}.combine.kind", ["bmuf", "bmuf_nesterov", "butterfly", "ring", "hopping_ring"],
        {f"{PARALLEL}.workers": 4, f"{PARALLEL}.period_frames": 40}),
    Row(f"{PARALLEL}.combine.weights", ["equal"]),
    Row(f"{PARALLEL}.combine.weights", ["equal"], BMUF),
    Row(f"{PARALLEL}.combine.block_momentum", [0.1], BMUF),
    Row(f"{PARALLEL}.combine.block_learning_rate", [0.5], BMUF),
    Row(f"{PARALLEL}.average", [False]),
    Row(f"{PARALLEL}.period_frames", [80]),
    Row(f"{PARALLEL}.dealing", ["fixed"]),
    Row(f"{PARALLEL}.carry_state", ["reset", "average"]),
]  # fmt: skip
