"""What a user hands to a command, spoilt: each reader takes it or refuses it in one line, and touches nothing else."""

import json
import resource

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.settings import section
from unisono.config.network import DnnOptions
from unisono.data.corpus import audio
from unisono.data.corpus.folder.textgrid import read_textgrid
from unisono.data.corpus.kaldi_dir import read_kaldi, read_kaldi_features
from unisono.data.corpus.lexicon import read_lexicon, read_phone_set
from unisono.data.corpus.librispeech import read_librispeech
from unisono.data.corpus.references import read_references
from unisono.data.corpus.sources import read_source_table
from unisono.data.corpus.speaker_classes import read_classes
from unisono.desk.settings import read_settings
from unisono.errors import UserError
from unisono.nn.dnn import Dnn
from unisono.nn.model_file import load_model, save_model
from unisono.recognise.system import read_system
from unisono.score.results import read_hypotheses

GROWTH = 300 << 10  # kilobytes of memory that a reader of small files may take
PIECES = [
    b"\t", b"\n", b"\r\n", b"\0", b" ", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc2\xa0", b"-1", b"nan", b"1e999",
    b"99999999999999", b"../../x", b"/etc/passwd", b"$(touch x)", b"|", b"'", b'"', b"{", b"[", b"]", b"&a *a",
    b"!!python/object/apply:os.system", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0",
]  # fmt: skip

TABLE = """utterance_id\tspeaker_id\tpath\ttranscript\tsplit\tbegin_s\tend_s
a1\ta\tx.wav\tYES NO\ttrain\t0.5\t1.5
b1\tb\ty.wav\tNO\tdev\t\t
"""
GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "anna"
        xmin = 0
        xmax = 2
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1
            text = "yes"
        intervals [2]:
            xmin = 1
            xmax = 2
            text = ""
"""
CONFIG = """name: mine
seed: 3
corpus: {kind: spoken}
network: {kind: dnn, hidden: [8, 8]}
runs:
  a: {seed: 2}
"""
LINES = {
    "text": "a1 YES NO\nb1 NO\n", "utt2spk": "a1 a\nb1 b\n", "wav.scp": "r1 r1.wav\n",
    "feats.scp": "a1 f.ark:3\nb1 f.ark:99\n",
    "segments": "a1 r1 0.0 1.0\nb1 r1 1.0 -1\n", "spk2gender": "a f\nb m\n",
}  # fmt: skip
RECOGNISER = {
    "format": "unisono.recogniser/1", "files": {"network": "n.safetensors"}, "sha256": {"network": "00"},
    "settings": {"decode": {"beam": 13.0}, "features": {}, "corpus": {}},
}  # fmt: skip


def written(text, read):
    """Return what makes the seed file of a reader."""

    def make(folder):
        (folder / "f").write_text(text)
        return folder / "f", lambda: read(folder / "f")

    return make


def of_kaldi(name, read):
    def make(folder):
        for other, text in LINES.items():
            (folder / other).write_text(text)
        return folder / name, lambda: read(folder, "train")

    return make


def librispeech(folder):
    (folder / "s/1/2").mkdir(parents=True)
    path = folder / "s/1/2/1-2.trans.txt"
    path.write_text("1-2-0001 YES NO\n1-2-0002 NO\n")
    for number in (1, 2):
        (folder / f"s/1/2/1-2-000{number}.flac").touch()
    return path, lambda: read_librispeech(folder, "train", ["s"])


def recording(name, subtype, read):
    def make(folder):
        samples = (np.sin(np.arange(400) * 0.3) * 3000).astype(np.int16)
        soundfile.write(folder / name, samples, 8000, subtype=subtype)
        return folder / name, lambda: read(folder / name)

    return make


def looked_at(path):
    try:
        audio.inspect(path)
    except audio.UnusableAudio as error:
        assert "\n" not in str(error)


def model(folder):
    options = section(DnnOptions, kind="dnn", hidden=(4, 3), nonlinearity="relu", context=(1, 1), dropout=0.0)
    network = Dnn(options, 2, 3)
    save_model(folder / "f", network.spec(), network.layout, torch.zeros(network.layout.size), None)
    return folder / "f", lambda: load_model(folder / "f")


def recogniser(folder):
    (folder / "recogniser.json").write_text(json.dumps(RECOGNISER))
    return folder / "recogniser.json", lambda: read_system(folder)


READERS = {
    "table": written(TABLE, read_source_table),
    "references": written(TABLE, read_references),
    "classes": written("speaker_id\tage\na\t3\nb\t20\n", lambda p: read_classes({}, [str(p)], {"age": 16.0})),
    "lexicon": written("YES  Y EH S\nNO  N OW\nNO(2)  N AO\n", read_lexicon),
    "phones": written("Y\nEH\nS\n", read_phone_set),
    "textgrid": written(GRID, read_textgrid),
    "config": written(CONFIG, lambda p: read_settings([p])),
    "hypotheses": written("a1 YES NO\nb1\n", read_hypotheses),
    "librispeech": librispeech,
    "wav": recording("f.wav", "PCM_16", audio.read_audio),
    "wav header": recording("f.wav", "PCM_16", looked_at),
    "flac": recording("f.flac", "PCM_16", audio.read_audio),
    "model": model,
    "recogniser": recogniser,
    **{f"kaldi {name}": of_kaldi(name, read_kaldi) for name in LINES if name != "feats.scp"},
    "kaldi feats.scp": of_kaldi("feats.scp", read_kaldi_features),
}  # fmt: skip


@st.composite
def edits(draw):
    """Places (as parts of the file), how much is taken out there, and what comes in."""
    piece = st.one_of(st.sampled_from(PIECES), st.binary(max_size=8))
    edit = st.tuples(st.floats(0, 1), st.sampled_from([0, 0, 1, 2, 8, 10**6]), piece)
    return draw(st.lists(edit, min_size=1, max_size=4))


def spoilt(data, changes):
    for part, length, piece in changes:
        place = int(part * len(data))
        data = data[:place] + piece + data[place + length :]
    return data


@pytest.mark.fuzz
@pytest.mark.parametrize("name", READERS)
def test_spoilt_files_are_read_or_refused_in_one_line(tmp_path, monkeypatch, name):
    folder = tmp_path / "given"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path, read = READERS[name](folder)
    read() if name != "recogniser" else None
    sound, refused = path.read_bytes(), [0]
    before, memory = sorted(tmp_path.rglob("*")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=3 * settings.default.max_examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(edits())
    @example([(0.0, 10**6, b"-1")])  # a TextGrid that is JSON, but a number
    @example([(0.25, 0, b"\r")])  # a carriage return within a name that is refused
    @example([(0.06640625, 2, b"\x00r")])  # a FLAC that announces eight thousand million samples
    def check(changes):
        path.write_bytes(spoilt(sound, changes))
        try:
            read()
        except UserError as error:
            assert "\n" not in str(error) and "\r" not in str(error)
            refused[0] += 1

    check()
    assert refused[0] > 0 or name == "wav header", "no edit was ever refused"
    assert sorted(tmp_path.rglob("*")) == before, "a reader left something"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < GROWTH
