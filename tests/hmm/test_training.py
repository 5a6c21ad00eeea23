"""Training on made-up speech whose true segmentation is known: it must be found again, and repeat to the byte."""

import numpy as np
import pytest

from tests.support.settings import section
from unisono.config.hmm import HmmOptions, MonoOptions, TriOptions
from unisono.errors import UserError
from unisono.hmm.align import Shard, transcript_ids
from unisono.hmm.lexicon import load_lang, read_lexicon, write_lang
from unisono.hmm.model import save_model
from unisono.hmm.passes import align_corpus
from unisono.hmm.training import initial_gmms, mono_plan, train_mono, train_tri, tri_plan
from unisono.hmm.triphones import transition_table

LEXICON = "BA  b a\nDA  d a\nBAD  b a d\nADA  a d a\nOB  o b\nDO  d o\nDO  d a o\n"
WORDS = ["BA", "DA", "BAD", "ADA", "OB", "DO"]
DIM = 6


def options(**changes):
    values = {
        "features": {},
        "silence_phone": "sil",
        "silence_states": 3,
        "phone_states": 3,
        "silence_probability": 0.5,
        "mono": section(MonoOptions, iterations=8, gaussians=40),
        "tri": section(TriOptions, iterations=6, leaves=60, gaussians=80),
        "align": "tri",
        "beam": 10.0,
        "retry_beam": 40.0,
        "acoustic_scale": 0.1,
        "seed": 1,
    }
    return section(HmmOptions, **(values | changes))


@pytest.fixture(scope="module")
def lang(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lang")
    (folder / "lexicon.txt").write_text(LEXICON)
    write_lang(
        folder / "lang",
        read_lexicon(folder / "lexicon.txt"),
        silence_phone="sil",
        silence_probability=0.5,
        silence_states=3,
        phone_states=3,
    )
    return load_lang(folder / "lang")


def speak(lang, words, rng, means):
    """Return frames [T, DIM] and the true phone of each, with silence at both ends and between words by chance."""
    spelling = {e.word: e.phones for e in lang.pronunciations}
    phones = ["sil"]
    for word in words:
        phones += [*spelling[word], *(["sil"] if rng.random() < 0.3 else [])]
    phones.append("sil")
    frames, truth, left = [], [], "sil"
    for phone in phones:
        for state in range(3):
            count = rng.integers(3, 7)
            # The first state sounds otherwise after an o: what a triphone can know and a monophone not.
            shift = 3.0 if state == 0 and left == "o" and phone != "sil" else 0.0
            frames.append(rng.normal(means[phone][state] + shift, 1.0, (count, DIM)))
            truth += [lang.phones[phone]] * count
        left = phone
    return np.concatenate(frames).astype(np.float32), np.array(truth)


@pytest.fixture(scope="module")
def corpus(lang):
    rng = np.random.default_rng(11)
    means = {phone: rng.normal(size=(3, DIM)) * 3 for phone in ("sil", "a", "b", "d", "o")}
    shards, truths = [], []
    for shard in range(3):
        utts = [f"u{shard}{n:02d}" for n in range(20 + shard)]
        texts = {utt: [WORDS[i] for i in rng.integers(0, 6, rng.integers(2, 5))] for utt in utts}
        spoken = [speak(lang, texts[utt], rng, means) for utt in utts]
        ids = transcript_ids(lang, texts)
        offsets = np.concatenate([[0], np.cumsum([len(x) for x, _ in spoken])]).astype(np.int64)
        shards.append(Shard(utts, [ids[utt] for utt in utts], np.concatenate([x for x, _ in spoken]), offsets))
        truths.append(np.concatenate([truth for _, truth in spoken]))
    return shards, truths


@pytest.fixture(scope="module")
def mono(lang, corpus):
    return train_mono(lang, corpus[0], options(), {"kind": "made-up"}, 1)


@pytest.fixture(scope="module")
def tri(lang, corpus, mono):
    parts, _ = align_corpus(mono.model, lang, corpus[0], options(), 1)
    return train_tri(lang, corpus[0], mono.model, [part.ids for part in parts], options(), 1)


def share_right(model, lang, corpus):
    parts, report = align_corpus(model, lang, corpus[0], options(), 1)
    table = transition_table(model.transition_model)
    assert report["failed"] == [] and report["aligned"] == report["utterances"] == 63
    assert report["frames"] == sum(len(shard.frames) for shard in corpus[0])
    return np.mean(np.concatenate([table.phone[p.ids] for p in parts]) == np.concatenate(corpus[1])), report[
        "log_likelihood_per_frame"
    ]


def test_monophones_find_the_phones(lang, corpus, mono):
    share, _ = share_right(mono.model, lang, corpus)
    assert share > 0.9
    rows = mono.report["iterations"]
    assert [row["iteration"] for row in rows] == list(range(1, 9))
    assert rows[-1]["log_likelihood_per_frame"] > rows[0]["log_likelihood_per_frame"] + 1.0
    assert mono.report["pdfs"] == 15 and 15 < mono.report["gaussians"] <= 40 and mono.report["failed"] == []


def test_triphones_fit_better(lang, corpus, mono, tri):
    assert tri.model.context_width == 3 and tri.model.num_pdfs > 15
    (share, likelihood), (_, before) = share_right(tri.model, lang, corpus), share_right(mono.model, lang, corpus)
    assert share > 0.9 and likelihood > before + 0.1
    assert tri.model.feature_options == {"kind": "made-up"}


def test_processes_do_not_matter_and_runs_repeat(lang, corpus, mono, tri, tmp_path):
    again = train_mono(lang, corpus[0], options(), {"kind": "made-up"}, 2)
    save_model(tmp_path / "one.h5", mono.model)
    save_model(tmp_path / "two.h5", again.model)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes() and mono.report == again.report
    parts, _ = align_corpus(again.model, lang, corpus[0], options(), 3)
    other = train_tri(lang, corpus[0], again.model, [part.ids for part in parts], options(), 3)
    save_model(tmp_path / "three.h5", tri.model)
    save_model(tmp_path / "four.h5", other.model)
    assert (tmp_path / "three.h5").read_bytes() == (tmp_path / "four.h5").read_bytes()


def test_a_shard_in_which_nothing_is_aligned_changes_nothing(lang, corpus, mono, tri, tmp_path):
    empty = Shard([], [], np.zeros((0, DIM), np.float32), np.zeros(1, np.int64))
    parts, _ = align_corpus(mono.model, lang, [empty, *corpus[0]], options(), 1)
    other = train_tri(lang, [empty, *corpus[0]], mono.model, [part.ids for part in parts], options(), 1)
    assert len(parts[0].ids) == 0 and other.report["pdfs"] == tri.report["pdfs"]
    save_model(tmp_path / "one.h5", tri.model)
    save_model(tmp_path / "two.h5", other.model)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_another_seed_gives_another_model(lang, corpus, mono):
    other = train_mono(lang, corpus[0], options(seed=2), {}, 1)
    assert not np.array_equal(other.model.gmms.means, mono.model.gmms.means)


def test_bad_utterances_are_left_out_with_a_reason(lang, corpus):
    shard = corpus[0][0]
    frames = shard.frames.copy()
    frames[shard.offsets[1]] = np.inf
    words = [[], *shard.words[1:]]
    words[2] = shard.words[2] * 40
    empty = Shard([], [], np.zeros((0, DIM), np.float32), np.zeros(1, np.int64))
    # A frame that is not finite must not reach mean and variance of the flat start.
    trained = train_mono(lang, [shard._replace(frames=frames, words=words), empty], options(), {}, 2)
    reasons = {row["utterance_id"]: row["reason"] for row in trained.report["failed"]}
    assert set(reasons) == {"u000", "u001", "u002"}
    assert "empty" in reasons["u000"] and "not finite" in reasons["u001"] and "too short" in reasons["u002"]
    assert np.isfinite(trained.model.gmms.means).all()


def test_nothing_to_align_is_one_line(lang, corpus):
    shard = corpus[0][0]
    with pytest.raises(UserError, match=r"none of the 20 utterances can be aligned \(u000: its transcript is empty\)"):
        train_mono(lang, [shard._replace(words=[[] for _ in shard.words])], options(), {}, 1)
    with pytest.raises(UserError, match="no training frames"):
        train_mono(lang, [Shard([], [], np.zeros((0, DIM), np.float32), np.zeros(1, np.int64))], options(), {}, 1)


def test_plans_are_those_of_kaldi():
    kaldi = options(
        mono=section(MonoOptions, iterations=40, gaussians=1),
        tri=section(TriOptions, iterations=35, leaves=1, gaussians=1),
    )
    assert sorted(mono_plan(kaldi).realign) == [*range(2, 11), 11, 12, 14, 16, 17, 18, 20, 23, 26, 29, 32, 35, 38]
    assert mono_plan(kaldi).grow == 30
    assert sorted(tri_plan(kaldi).realign) == [10, 20, 30] and tri_plan(kaldi).grow == 25


def test_a_pdf_without_frames_starts_from_all():
    sums = np.array([[2.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
    made = initial_gmms(sums)
    assert made.means[:, 0].tolist() == [1.0, 1.0] and made.variances[:, 0].tolist() == [1.0, 1.0]
