"""Features, statistics and alignments of Kaldi in the place of ours: from data directories to our files."""

import json

import numpy as np
import pytest

from unisono.__main__ import main
from unisono.bootstrap.kaldi import write_alignments
from unisono.config.build import build as settings
from unisono.config.features import FeatureOptions
from unisono.data.corpus.kaldi_dir import read_kaldi_features
from unisono.data.features.extract import check_rate
from unisono.data.features.kaldi import KaldiFeatures, read_statistics
from unisono.data.features.reader import FeatureReader
from unisono.data.kaldi.archive import Script
from unisono.data.kaldi.system import Misfit, check_alignment
from unisono.data.kaldi.tokens import Tokens
from unisono.data.kaldi.transitions import read_transitions
from unisono.data.kaldi.write import archive_writer
from unisono.data.sequences import Sequences
from unisono.errors import UserError
from unisono.files import read_json

FRAMES = {"a1": 4, "a2": 6, "b1": 5}
SPLITS = {"train": ("a1", "a2", "b1"), "dev": ("c1",), "test": ("d1",)}
OPTIONS = {"kind": "kaldi", "numbers": 2, "deltas": 1}
CORPUS = {"kind": "kaldi", "dir": "digits", "shards": 1}
MODEL = b"""<TransitionModel> <Topology> <TopologyEntry> <ForPhones> 1 2 </ForPhones>
<State> 0 <PdfClass> 0 <Transition> 0 0.5 <Transition> 1 0.5 </State>
<State> 1 <PdfClass> 1 <Transition> 1 0.5 <Transition> 2 0.5 </State>
<State> 2 </State> </TopologyEntry> </Topology>
<Triples> 4 1 0 0 1 1 1 2 0 2 2 1 3 </Triples>
<LogProbs> [ 0 -0.7 -0.7 -0.7 -0.7 -0.7 -0.7 -0.7 -0.7 ] </LogProbs> </TransitionModel>
"""


def frames_of(name):
    return np.random.default_rng(list(name.encode())).normal(3, 2, (FRAMES.get(name, 7), 2)).astype(np.float32)


@pytest.fixture
def corpus(tmp_path):
    """corpora/digits with a data directory for each split, without wav.scp."""
    for split, names in SPLITS.items():
        folder = tmp_path / "corpora" / "digits" / split
        folder.mkdir(parents=True)
        with archive_writer(folder / "raw.ark", folder / "feats.scp") as writer:
            for name in names:
                writer.add(name, frames_of(name))
        (folder / "text").write_text("".join(f"{name} ONE TWO\n" for name in names))
        (folder / "utt2spk").write_text("".join(f"{name} {name[0]}\n" for name in names))
    (tmp_path / "corpora" / "digits" / "lexicon.txt").write_text("ONE w ah n\nTWO t uw\n")
    flags = ["--corpora-dir", tmp_path / "corpora", "--out-dir", tmp_path / "data", "--from-features"]
    assert main(["corpus", "--options", json.dumps(CORPUS), *map(str, flags)]) == 0
    return tmp_path


def features(folder, *flags):
    common = ["--table", folder / "data/train.tsv", "--shard", 0, "--options", json.dumps(OPTIONS)]
    return main(["features", *map(str, [*common, *flags, "--out", folder / "train.h5"])])


def test_a_corpus_of_features_needs_no_recordings(corpus):
    facts = read_json(corpus / "data/corpus.json")
    assert facts["sampling_rate"] == 0 and facts["splits"]["train"]["utterances"] == 3
    assert facts["splits"]["train"]["seconds"] == pytest.approx(0.15)
    assert features(corpus, "--feats", corpus / "corpora/digits/train/feats.scp") == 0
    with Sequences(corpus / "train.h5", kind="features") as store:
        assert store.utts == ["a1", "a2", "b1"] and store.attrs["dim"] == 2
        for name in store.utts:
            assert np.array_equal(store.get(name), frames_of(name))


def test_statistics_of_kaldi_are_taken(corpus):
    scp, out = corpus / "cmvn.scp", corpus / "train.cmvn.h5"
    with archive_writer(corpus / "cmvn.ark", scp) as writer:
        for speaker, shift in (("a", 1.0), ("b", 2.0)):
            writer.add(speaker, np.float64([[10 * shift, 0, 10], [10 * shift**2 + 40, 10, 0]]))
    assert features(corpus, "--feats", corpus / "corpora/digits/train/feats.scp") == 0
    flags = ["--table", corpus / "data/train.tsv", "--features", corpus / "train.h5", "--options", json.dumps(OPTIONS)]
    assert main(["cmvn", *map(str, [*flags, "--kaldi", scp, "--out", out])]) == 0
    options = settings(FeatureOptions, OPTIONS)
    reader = FeatureReader(corpus / "data/train.tsv", [corpus / "train.h5"], out, options)
    np.testing.assert_allclose(reader.get("b1")[:, :2], (frames_of("b1") - [2, 0]) / [2, 1], rtol=1e-5)
    with archive_writer(corpus / "cmvn.ark", scp) as writer:
        writer.add("a", np.float64([[1, 0, 1], [1, 1, 0]]))
    assert main(["cmvn", *map(str, [*flags, "--kaldi", scp, "--out", out])]) == 2


def test_kaldi_features_for_a_network(corpus):
    folder = corpus / "corpora/digits/train"
    with archive_writer(corpus / "cmvn.ark", corpus / "cmvn.scp") as writer:
        for speaker in ("a", "b"):
            writer.add(speaker, np.float64([[20, 0, 10], [80, 10, 0]]))
    given = KaldiFeatures(folder / "feats.scp", folder / "utt2spk", deltas=2)
    statistics = read_statistics(corpus / "cmvn.scp", given.base_dim)
    given.normalise(statistics, True, "cmvn.scp")
    assert given.utts == ["a1", "a2", "b1"] and given.dim == 6 and given.get("a1").shape == (4, 6)
    np.testing.assert_allclose(given.get("a1")[:, :2], (frames_of("a1") - [2, 0]) / [2, 1], rtol=1e-5)
    assert np.array_equal(KaldiFeatures(folder / "raw.ark").get("b1"), frames_of("b1"))
    own = KaldiFeatures(folder / "feats.scp", folder / "utt2spk")
    own.normalise(own.statistics(), True, "feats.scp")
    both = np.concatenate([own.get("a1"), own.get("a2")])
    assert abs(both.mean()) < 1e-6 and np.abs(both.std(axis=0) - 1).max() < 1e-5
    with pytest.raises(UserError, match=r"cmvn\.scp: 'a1' of 'a1' is missing: give files of one data folder"):
        KaldiFeatures(folder / "feats.scp").normalise(statistics, True, "cmvn.scp")
    (corpus / "utt2spk").write_text("a1 a\na2 a\n")
    with pytest.raises(UserError, match="utterance 'b1' has no speaker"):
        KaldiFeatures(folder / "feats.scp", corpus / "utt2spk")
    with pytest.raises(UserError, match="2 x 3 numbers, features of 5 need 2 x 6"):
        read_statistics(corpus / "cmvn.scp", 5)


@pytest.mark.parametrize(
    ("flags", "options", "said"),
    [
        ((), OPTIONS, "--feats: goes with features of kind kaldi"),
        (("--feats", "corpora/digits/dev/feats.scp"), OPTIONS, "no features of utterance a1"),
        (
            ("--feats", "corpora/digits/train/feats.scp"),
            {**OPTIONS, "numbers": 3},
            "2 numbers a frame, features.numbers",
        ),
        (("--feats", "corpora/digits/train/feats.scp", "--format", "ark"), OPTIONS, "--format ark: these features are"),
    ],
)
def test_features_that_do_not_fit(corpus, capsys, monkeypatch, flags, options, said):
    monkeypatch.chdir(corpus)
    words = ["--table", "data/train.tsv", "--shard", "0", "--options", json.dumps(options), *flags, "--out", "x.h5"]
    assert main(["features", *words]) == 2
    assert said in capsys.readouterr().err


def test_data_directories_of_features_that_do_not_fit(corpus):
    folder = corpus / "corpora/digits/train"
    assert [row.utterance_id for row in read_kaldi_features(folder, "train")] == ["a1", "a2", "b1"]
    (folder / "text").write_text("a1 ONE\na2 ONE\n")
    with pytest.raises(UserError, match="utterance 'b1' of .*, is not there"):
        read_kaldi_features(folder, "train")


# Of phone 1: 1, 2 are state 0's loop and way out, 3, 4 those of state 1; of phone 2: 5 to 8.
REORDERED = np.int32([2, 1, 4, 3, 6, 8])
PLAIN = np.int32([1, 2, 3, 4, 6, 8])


@pytest.fixture
def transitions():
    return read_transitions(Tokens(MODEL, "final.mdl"))


@pytest.mark.parametrize("ids", [REORDERED, PLAIN, np.int32([2, 4])])
def test_alignments_that_are_paths(transitions, ids):
    check_alignment(transitions, ids)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([], "no frames"),
        ([2, 4, 9], "transition-id 9, the model has 1 to 8"),
        ([0, 2], "transition-id 0"),
        ([1, 1, 1], "only self-loops"),
        ([2, 2, 4], "frame 1 cannot follow"),
        ([4, 2], "frame 1 cannot follow|frame 0 cannot follow"),
        ([2, 8], "frame 1 cannot follow"),
        ([2, 4, 8], "frame 2 cannot follow"),
        ([2, 3, 4, 1], "self-loops belong to other states"),
    ],
)
def test_alignments_that_are_none(transitions, ids, said):
    with pytest.raises(Misfit, match=said):
        check_alignment(transitions, np.int32(ids))


def test_phones_end_after_the_loops_of_their_last_state(transitions):
    assert transitions.phone_lengths(REORDERED) == [(1, 4), (2, 2)]


@pytest.fixture
def reader(corpus):
    assert features(corpus, "--feats", corpus / "corpora/digits/train/feats.scp") == 0
    options = settings(FeatureOptions, {**OPTIONS, "cmvn": "none"})
    (corpus / "model.h5").write_bytes(b"model")
    return FeatureReader(corpus / "data/train.tsv", [corpus / "train.h5"], "", options)


def test_alignments_of_a_frame_or_two_too_many_are_cut_and_counted(corpus, transitions, reader):
    entries = [("a1", REORDERED), ("a2", np.int32([2, 1, 4, 3, 3])), ("b1", np.int32([2, 4] * 6)), ("zz", PLAIN)]
    report = write_alignments(corpus / "ali.h5", corpus / "model.h5", transitions, entries, reader)
    assert report["aligned"] == 2 and report["adjusted"] == 2 and report["frames"] == 10
    assert report["failed"] == [{"utterance_id": "b1", "reason": "12 frames aligned, its features have 5"}]
    with Sequences(corpus / "ali.h5", kind="alignment") as store:
        assert store.get("a1", "transition_ids").tolist() == [2, 1, 4, 3] and store.attrs["num_pdfs"] == 4
        assert store.get("a2", "transition_ids").tolist() == [2, 1, 4, 3, 3, 3]  # held by the last state's loop
        assert store.get("a2", "ids").tolist() == [0, 0, 1, 1, 1, 1]
    with pytest.raises(UserError, match="alignment of a1: transition-id 99.*is it of this final.mdl"):
        write_alignments(corpus / "x.h5", corpus / "model.h5", transitions, [("a1", np.int32([99]))], reader)
    with pytest.raises(UserError, match="none fits the features"):
        write_alignments(corpus / "x.h5", corpus / "model.h5", transitions, [("b1", REORDERED[:2])], reader)


def test_features_leave_as_an_archive(tmp_path):
    import soundfile

    from unisono.data.corpus.table import Utterance, write_table

    samples = np.random.default_rng(1).integers(-1000, 1000, 8000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    write_table(tmp_path / "t.tsv", [Utterance("utt", "s", str(tmp_path / "a.wav"), 1.0, "ONE", "ONE", 0)])
    words = ["features", "--table", str(tmp_path / "t.tsv"), "--options", '{"kind": "mfcc", "num_mel_bins": 23}']
    out = ["--format", "ark", "--out", str(tmp_path / "a.ark"), "--scp", str(tmp_path / "a.scp")]
    assert main([*words, *out]) == 0
    assert main([*words, "--out", str(tmp_path / "a.h5")]) == 0
    with Sequences(tmp_path / "a.h5") as store:
        assert np.array_equal(Script(tmp_path / "a.scp", "matrix")["utt"], store.get("utt"))
    assert main([*words, "--out", str(tmp_path / "a.h5"), "--scp", str(tmp_path / "a.scp")]) == 2


def test_features_of_kaldi_cannot_be_computed():
    with pytest.raises(UserError, match="cannot be computed from recordings: give unisono loglikes --feats"):
        check_rate(settings(FeatureOptions, OPTIONS), 8000)
