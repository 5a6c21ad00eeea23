"""A network's log-likelihoods as the commands that decode have them: from a model file, in one process or several."""

import argparse
from types import SimpleNamespace

import torch

from tests.support.miniature import DIM, PDFS, TENANTS, config
from unisono.cli import arguments
from unisono.core import flat
from unisono.engines.run import make_run
from unisono.nn.model_file import save_model
from unisono.nn.network import make
from unisono.processes import map_shards
from unisono.recognise.acoustics import network_scorer

LENGTHS = (1, 40, 513, 1300)  # frames: computed 512 at a time


def write_model(path, tenant):
    """Write a model of a kind of network, of random parameters that tell the pdfs apart."""
    network = make(make_run(config(**TENANTS.get(tenant, {}))).network, DIM, PDFS)
    generator = torch.Generator().manual_seed(5)
    parameters = 0.3 * torch.randn(network.layout.size, generator=generator)
    parameters = flat.from_tensors(network.layout, flat.to_tensors(network.layout, parameters))  # without padding
    save_model(path, network.spec(), network.layout, parameters, torch.linspace(-3.0, -1.0, PDFS))


def features():
    """Frames [T, DIM] of some utterances, each time the same."""
    generator = torch.Generator().manual_seed(6)
    return [torch.randn(length, DIM, generator=generator).numpy() for length in LENGTHS]


def scores(path, device, processes=1):
    """The log-likelihoods of `features()`. device: as in `--device`, or what chooses one."""
    frames = features()
    reader = SimpleNamespace(dim=DIM, get=lambda name: frames[int(name)])
    choose = arguments.device_of(argparse.Namespace(device=device)) if isinstance(device, str) else device
    scorer = network_scorer(path, 1, reader, PDFS, device=choose)
    return map_shards(lambda number: scorer(str(number)), len(frames), processes)
