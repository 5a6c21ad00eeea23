"""The data path: every frame of an epoch once, slices independent, edges repeated, bounded memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stores import DIM, empty, literal_order, make_store
from unisono.data.frames.loader import Loader, Slice
from unisono.data.frames.order import Order, Piece
from unisono.data.frames.store import FramesStore
from unisono.data.frames.store_write import write_frames
from unisono.data.frames.window import load_units
from unisono.errors import UserError
from unisono.schedule import cut, deal
from unisono.units import FRAME, TrainingUnit


def literal_splice(frames, utterance, t, left, right):
    rows = [frames[utterance][min(max(k, 0), len(frames[utterance]) - 1)] for k in range(t - left, t + right + 1)]
    return np.concatenate(rows)


def spliced(store, pieces, context):
    """Frames with their context and their ids, in the order of the pieces."""
    window = load_units(store, pieces, TrainingUnit(1, *context))
    batch = empty(len(window), DIM * (sum(context) + 1))
    assert window.gather(0, len(window), batch) == len(window)
    return batch.x, batch.ids[:, 0]


def read_all(loader, part, size, width):
    xs, ys = [], []
    for batch, frames in loader.minibatches(part, size, lambda n: empty(n, width)):
        assert frames == len(batch.ids)
        xs.append(batch.x.numpy().copy())
        ys.append(batch.ids[:, 0].numpy().copy())
    return np.concatenate(xs), np.concatenate(ys), [len(y) for y in ys]


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=25).filter(any),
    window=st.integers(1, 150),
    epoch=st.integers(0, 3),
)
def test_an_order_holds_every_frame_exactly_once(lengths, window, epoch):
    order = Order(np.array(lengths), range(len(lengths)), window, (5, epoch))
    listed = literal_order(order)
    assert sorted(listed) == [(u, t) for u, n in enumerate(lengths) for t in range(n)]
    assert len(order) == sum(lengths)


def test_an_order_depends_on_seed_epoch_and_owner_and_is_shuffled():
    lengths = np.full(50, 20)
    orders = {key: literal_order(Order(lengths, range(50), 128, key)) for key in [(1, 0), (1, 1), (2, 0), (1, 0, 0, 2)]}
    listed = [tuple(order) for order in orders.values()]
    assert len(set(listed)) == 4
    straight = [(u, t) for u in range(50) for t in range(20)]
    assert sum(a == b for a, b in zip(orders[1, 0], straight, strict=True)) < 50
    assert listed[0] == tuple(literal_order(Order(lengths, range(50), 128, (1, 0))))


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=3, max_size=20).filter(lambda n: sum(n) >= 30),
    window=st.integers(3, 90),
    context=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    workers=st.integers(1, 3),
    minibatch=st.integers(1, 17),
    ahead=st.integers(0, 3),
    dtype=st.sampled_from(["float16", "float32"]),
)
def test_slices_are_independent_and_splice_as_the_literal_twin(
    tmp_path_factory, lengths, window, context, workers, minibatch, ahead, dtype
):
    path = tmp_path_factory.mktemp("store") / "train.h5"
    frames, ids = make_store(path, lengths, dtype=dtype)
    frames = [x.astype(dtype).astype(np.float32) for x in frames]
    width = DIM * (context[0] + 1 + context[1])
    parts = cut(sum(lengths), 1, workers * 3)
    with (
        FramesStore(path) as store,
        Loader(store, TrainingUnit(1, *context), seed=9, window=window, ahead=ahead) as loader,
    ):
        listed = literal_order(loader.order(2, -1))
        for begin, end in reversed(parts):  # backwards: no slice may need the one before
            x, y, sizes = read_all(loader, Slice(2, -1, begin, end), minibatch, width)
            assert all(n == minibatch for n in sizes[:-1]) and sum(sizes) == end - begin
            for row, label, (u, t) in zip(x, y, listed[begin:end], strict=True):
                np.testing.assert_array_equal(row, literal_splice(frames, u, t, *context))
                assert label == ids[u][t]


def test_fixed_dealing_reads_only_the_owners_utterances(tmp_path):
    lengths = [30, 10, 20, 40, 5, 25]
    frames, _ = make_store(tmp_path / "train.h5", lengths)
    owners = np.array(deal(lengths, 2))
    with FramesStore(tmp_path / "train.h5") as store, Loader(store, FRAME, seed=1, window=16, owners=owners) as loader:
        for owner in (0, 1):
            mine = [u for u in range(6) if owners[u] == owner]
            x, _, _ = read_all(loader, Slice(0, owner, 0, sum(lengths[u] for u in mine)), 8, DIM)
            wanted = np.concatenate([frames[u] for u in mine])
            assert sorted(map(tuple, x.tolist())) == sorted(map(tuple, wanted.tolist()))


def test_spliced_reads_chosen_frames(tmp_path):
    frames, ids = make_store(tmp_path / "train.h5", [4, 9])
    with FramesStore(tmp_path / "train.h5") as store:
        x, y = spliced(store, [Piece(1, 3, 4), Piece(0, 0, 2)], (2, 1))
    wanted = [literal_splice(frames, u, t, 2, 1) for u, t in [(1, 3), (0, 0), (0, 1)]]
    np.testing.assert_array_equal(x.numpy(), wanted)
    assert y.tolist() == [ids[1][3], ids[0][0], ids[0][1]]


@pytest.mark.parametrize("most", [2**31, 7])
def test_thousands_of_short_utterances_are_read_as_the_literal_twin(tmp_path, monkeypatch, most):
    """More neighbours than one read may fill; and a file system that gives a few bytes at a time."""
    lengths = [(7 * i) % 3 for i in range(4000 if most > 7 else 60)]
    frames, ids = make_store(tmp_path / "train.h5", lengths)
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, parts, place: read(file, few(parts, most), place))
    units = [(u, t) for u, n in enumerate(lengths) for t in range(n)]
    with FramesStore(tmp_path / "train.h5") as store:
        x, y = spliced(store, [Piece(u, 0, n) for u, n in enumerate(lengths)], (1, 2))
    np.testing.assert_array_equal(x.numpy(), [literal_splice(frames, u, t, 1, 2) for u, t in units])
    assert y.tolist() == [ids[u][t] for u, t in units]


def few(parts, most):
    """The first parts, cut to `most` bytes in all."""
    kept = []
    for part in parts:
        kept.append(part[:most])
        most -= len(kept[-1])
        if not most:
            break
    return kept


def test_a_store_that_was_cut_short_is_refused(tmp_path):
    make_store(tmp_path / "train.h5", [40, 90])
    with FramesStore(tmp_path / "train.h5") as store:
        os.truncate(tmp_path / "train.h5", 1000)
        with pytest.raises(UserError, match="shorter than it was when it was opened: run the frames stage anew"):
            spliced(store, [Piece(0, 0, 40), Piece(1, 0, 90)], (2, 1))


def test_the_digest_follows_content_not_name(tmp_path):
    make_store(tmp_path / "a.h5", [4, 9])
    make_store(tmp_path / "b.h5", [4, 9])
    make_store(tmp_path / "c.h5", [4, 9], seed=1)
    digests = [FramesStore(tmp_path / name).digest for name in ("a.h5", "b.h5", "c.h5")]
    assert digests[0] == digests[1] != digests[2]
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_pdf_counts(tmp_path):
    _, ids = make_store(tmp_path / "a.h5", [40, 90])
    np.testing.assert_array_equal(
        FramesStore(tmp_path / "a.h5").pdf_counts, np.bincount(np.concatenate(ids), minlength=7)
    )


@pytest.mark.parametrize(
    ("frames", "ids", "message"),
    [
        (np.full((2, 3), 1e6), [0, 1], "do not fit into float16"),
        (np.full((2, 3), np.nan), [0, 1], "do not fit into float16"),
        (np.zeros((2, 3)), [0, 7], "pdf_id outside"),
        (np.zeros((2, 3)), [-1, 0], "pdf_id outside"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_no_file(tmp_path, frames, ids, message):
    with pytest.raises(UserError, match=message):
        write_frames(tmp_path / "a.h5", [("u", frames, np.array(ids))], num_pdfs=7, frame_shift_s=0.01, dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="no utterance is left"):
        write_frames(tmp_path / "a.h5", [], num_pdfs=7, frame_shift_s=0.01, dtype="float16")


CHILD = """
import resource, sys, torch, numpy as np
from unisono.nn.batch import Batch
from unisono.units import TrainingUnit
from unisono.data.frames.store import FramesStore
from unisono.data.frames.loader import Loader, Slice
torch.set_num_threads(1)
limit = int(sys.argv[2])
x, ids = torch.empty(256, 440), torch.empty(256, 1, dtype=torch.int64)
store = FramesStore(sys.argv[1])
usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
data = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (data + limit, data + limit))
if sys.argv[3] == "all":
    held = store.read(0, store.frames)
with Loader(store, TrainingUnit(1, 5, 5), seed=1, window=16384) as loader:
    whole = Slice(0, -1, 0, store.frames)
    count = sum(n for _, n in loader.minibatches(whole, 256, lambda n: Batch(x[:n], ids[:n], None)))
assert count == store.frames
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - usage)
"""


def test_a_store_larger_than_the_memory_allowed_is_read(tmp_path, root):
    lengths = [2000] * 1000  # 2 M frames of 40 dimensions in 16 bits: 160 MB
    rng = np.random.default_rng(0)
    block = rng.standard_normal((2000, 40)).astype(np.float16)
    items = ((f"u{i:05d}", block, np.zeros(n, np.int32)) for i, n in enumerate(lengths))
    write_frames(tmp_path / "train.h5", items, num_pdfs=1, frame_shift_s=0.01, dtype="float16", rows=sum(lengths))
    limit = 64 << 20

    def child(mode):
        arguments = [sys.executable, "-c", CHILD, str(tmp_path / "train.h5"), str(limit), mode]
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"},
            check=False,
        )

    done = child("windows")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < limit  # resident memory too, not only what was allocated
    assert child("all").returncode != 0  # the limit bites: the store itself does not fit
