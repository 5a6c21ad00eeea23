"""Train a block of iterations in one command (all engines but jobs), with checkpoints and exact resume."""

import argparse
import contextlib
import importlib
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from unisono.engines.block import Joined
    from unisono.engines.state import State


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    from unisono.cli.arguments import add_device
    from unisono.cli.run_files import add_arguments, add_constants
    from unisono.config.parallel import BLOCK_ENGINES, ResourceOptions

    given = ResourceOptions()
    add_arguments(parser, "config", "plan", "frames-train", "frames-dev")
    add_constants(parser)
    add_device(parser)
    parser.add_argument("--engine", required=True, choices=BLOCK_ENGINES, help="config key parallel.engine")
    parser.add_argument("--first", required=True, type=int, metavar="I", help="first iteration of the block")
    parser.add_argument("--last", required=True, type=int, metavar="I", help="last iteration of the block")
    parser.add_argument("--iterations-dir", required=True, metavar="DIR", help="files between iterations")
    parser.add_argument("--state-dir", required=True, metavar="DIR", help="checkpoints; no declared output")
    parser.add_argument(
        "--checkpoint-s", type=float, default=given.checkpoint_s, metavar="S", help="seconds between checkpoints"
    )
    parser.add_argument(
        "--hang-timeout-s",
        type=float,
        default=given.hang_timeout_s,
        metavar="S",
        help="sync, async: when a rank is silent",
    )
    parser.add_argument("--stop-after-s", type=float, metavar="S", help="save and exit after so many seconds")


def run(args: argparse.Namespace) -> None:
    """Train; after SIGTERM, SIGUSR1 or --stop-after-s save and exit with 128 + signal."""
    import os
    from pathlib import Path

    import torch

    from unisono import console
    from unisono.engines.block import Block, Stopped
    from unisono.engines.place import local_rank
    from unisono.engines.session import open_session
    from unisono.errors import UserError

    torch.set_num_threads(args.threads)
    stop_now, received = _watch(args.stop_after_s)
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(_join(args))
        try:
            advance = stack.enter_context(console.progress("train", args.last - args.first + 1))
            files = (args.config, args.plan, args.frames_train, args.frames_dev)
            place = {"device": process.place(args.device), "index": local_rank(os.environ, process.rank)}
            session = stack.enter_context(open_session(*files, constants=args.constants, **place))
            block = Block(
                first=args.first,
                last=args.last,
                iterations_dir=Path(args.iterations_dir),
                state_dir=Path(args.state_dir),
                checkpoint_s=args.checkpoint_s,
                interrupted=lambda: (process.beat(), stop_now())[1],
                resting=process.rest,
                after=_telling(advance, Path(args.iterations_dir)) if process.rank == 0 else _nothing,
            )
            process.train(session, block)
        except UserError:
            if process.rank > 0:
                time.sleep(1.0)  # an error that all ranks share is reported by rank 0, whose exit ends the others
            raise
        except Stopped as stopped:
            if process.rank == 0:
                console.report_error(f"unisono train: {stopped}")
            sys.exit(128 + (received() or signal.SIGTERM))


def _join(args: argparse.Namespace) -> "contextlib.AbstractContextManager[Joined]":
    """Return what makes this process a part of the engine."""
    from unisono.engines.run import read_run
    from unisono.schedule import worker_range

    name = {"async": "asynchronous"}.get(args.engine, args.engine)  # a keyword names no module
    engine = importlib.import_module(f"unisono.engines.{name}")
    return engine.join(worker_range(read_run(args.config).parallel.workers)[1], args.hang_timeout_s)


def _nothing(*ignored: object) -> None:
    """Do nothing."""


def _telling(advance: Callable[[], None], iterations_dir: "Path") -> "Callable[[State], None]":
    """Return what moves the bar and tells whoever watches the block, whose files are written at its end."""
    from unisono.engines.state import note_progress

    return lambda state: (advance(), note_progress(iterations_dir / "progress.jsonl", state))[1]


def _watch(limit_s: float | None) -> tuple[Callable[[], bool], Callable[[], int]]:
    """Return a question (stop now?) and the signal that was received, 0 for none."""
    begun, signals = time.monotonic(), [0]

    def note(number: int, frame: FrameType | None) -> None:
        signals[0] = number

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, note)

    def interrupted() -> bool:
        return signals[0] != 0 or (limit_s is not None and time.monotonic() - begun > limit_s)

    return interrupted, lambda: signals[0]
