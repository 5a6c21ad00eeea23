"""The settings of the equality product: a covering set, and the full list."""

from tests.support.miniature import TENANTS, config

PNORM, GROWING_PNORM, LSTM = TENANTS["pnorm"], TENANTS["growing"], TENANTS["lstm"]
GROWING = {"network": {"hidden": [12, 12, 12], "context": [2, 1]}, "initialisation": {"kind": "layerwise", "period": 1}}
# A covering set: every pair of values of two axes occurs.
COVERING = [
    ("mean", "sgd", 1, {}),
    ("mean", "ng_online", 2, {"parallel__carry_state": "average", "optimiser__max_change__kind": "nnet3"}),
    ("mean", "sgd", 3, {"parallel__dealing": "fixed", "network__dropout": 0.2}),
    ("mean", "ng_online", 4, {"parallel__workers": {"initial": 1, "final": 4}, "final_model": "ema",
                              "observers__ema": {"decay": 0.7, "start": 0.25}}),
    ("bmuf", "ng_online", 1, {"parallel__first_iteration": "combine"}),
    ("bmuf", "sgd", 2, {"schedule__kind": "newbob", "schedule__epochs": 3}),
    ("bmuf", "ng_simple", 3, {"parallel__carry_state": "reset"}),
    ("bmuf_nesterov", "sgd", 4, {"parallel__carry_state": "average", "final_model": "polyak",
                                 "observers__polyak": {"start": 0.25}}),
    ("bmuf_nesterov", "ng_online", 3, {"optimiser__max_change__kind": "nnet2"}),
    ("butterfly", "ng_online", 4, {}),
    ("butterfly", "sgd", 2, {"parallel__first_iteration": "combine", "final_model": "best"}),
    ("ring", "sgd", 3, {"parallel__dealing": "fixed", "final_model": "end",
                        "observers__end": {"kind": "tail", "combinations": 2}}),
    ("ring", "ng_online", 4, {"parallel__carry_state": "reset"}),
    ("mean", "ng_online", 2, {"parallel__carry_state": "epoch", "final_model": "combined", "network__dropout": 0.2,
                              "combined": {"models": 3, "frames": 300, "evaluations": 4}}),
    ("mean", "sgd", 3, LSTM | {"network__dropout": 0.2, "prior": "posteriors"}),
    ("bmuf", "ng_online", 3, LSTM | {"parallel__dealing": "fixed", "parallel__carry_state": "average",
                                     "optimiser__max_change__kind": "nnet3"}),
    ("ring", "ng_online", 1, LSTM | {"precision": "bf16"}),
    ("mean", "ng_online", 3, PNORM),
    ("mean", "ng_online", 4, GROWING_PNORM),
    ("bmuf_nesterov", "ng_simple", 2, GROWING | {"parallel__first_iteration": "combine", "final_model": "tail",
                                                "observers__tail": {"combinations": 2}}),
    ("ring", "sgd", 3, GROWING_PNORM | {"final_model": "best", "parallel__carry_state": "reset"}),
    ("hopping_ring", "sgd", 4, {"observers__ema": {"decay": 0.7, "start": 0.25}, "final_model": "ema"}),
]  # fmt: skip
RULES = ("mean", "bmuf", "bmuf_nesterov", "butterfly", "ring", "hopping_ring")
OPTIMISERS = ("sgd", "ng_online", "ng_simple")
FULL = (
    [
        (rule, optimiser, workers, {})
        for rule in RULES
        for optimiser in OPTIMISERS
        for workers in (1, 2, 3, 4)
        if rule != "butterfly" or workers != 3
    ]
    + [
        (rule, optimiser, 4, network)
        for network in (PNORM, GROWING, GROWING_PNORM)
        for rule in RULES
        for optimiser in OPTIMISERS
    ]
    + [
        (rule, optimiser, workers, LSTM)
        for rule in ("mean", "bmuf", "ring")
        for optimiser in ("sgd", "ng_online")
        for workers in (1, 3)
    ]
)


def named(case):
    network = case[3].get("network", {}).get("kind", "")
    return "-".join(
        [*map(str, case[:3]), *([network] if network else []), *(["grows"] * ("initialisation" in case[3]))]
    )


def settings_of(rule, optimiser, workers, changes):
    base = {"parallel__combine": rule, "optimiser__kind": optimiser, "parallel__workers": workers}
    return config(**base | {"parallel__period_frames": 250} | changes)
