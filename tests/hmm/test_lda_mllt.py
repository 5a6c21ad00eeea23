"""LDA and MLLT against their definitions, and the stage on made-up utterances through the commands."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
import scipy.linalg

from tests.support.settings import section
from unisono.__main__ import main
from unisono.config.hmm import LdaMlltOptions
from unisono.data.corpus.table import Utterance, with_shards, write_table
from unisono.data.sequences import Sequences, write_sequences
from unisono.errors import UserError
from unisono.hmm import gmm, transform
from unisono.hmm.lda_mllt import lda_mllt_plan
from unisono.hmm.libs import khg
from unisono.hmm.model import load_model, save_model


def test_splice_repeats_the_ends_and_nothing_else():
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    spliced = transform.splice(x, 1)
    assert spliced.dtype == np.float32
    assert spliced[0].tolist() == [0, 1, 0, 1, 2, 3] and spliced[3].tolist() == [4, 5, 6, 7, 6, 7]
    assert spliced[1].tolist() == [0, 1, 2, 3, 4, 5]
    assert transform.splice(x[:0], 3).shape == (0, 14)
    np.testing.assert_array_equal(transform.splice(x, 0), x)


def labelled(rng, classes=6, dim=4, per_class=80):
    """Return frames of several classes with one shared, full covariance."""
    mix = rng.normal(size=(dim, dim))
    means = rng.normal(size=(classes, dim)) * 2
    ids = np.repeat(np.arange(classes), per_class)
    return (means[ids] + rng.normal(size=(len(ids), dim)) @ mix.T).astype(np.float32), ids


def test_lda_solves_the_generalised_eigenproblem():
    rng = np.random.default_rng(3)
    x, ids = labelled(rng)
    ids[::7] = -1  # frames that do not count
    offsets = np.array([0, 100, 100, 333, len(x)])
    stats = transform.class_stats(x, offsets, ids, 8, 1)
    matrix, values = transform.lda(stats, 3)

    wide = np.concatenate([transform.splice(x[a:b], 1) for a, b in zip(offsets, offsets[1:], strict=False)])
    used = [wide[ids == c].astype(np.float64) for c in range(6)]
    everything = np.concatenate(used)
    within = sum((part - part.mean(0)).T @ (part - part.mean(0)) for part in used) / len(everything)
    between = np.cov(everything.T, bias=True) - within
    expected, vectors = scipy.linalg.eigh(between, within)
    np.testing.assert_allclose(values, expected[::-1][:3], rtol=1e-8)
    np.testing.assert_allclose(matrix @ within @ matrix.T, np.eye(3), atol=1e-8)
    for row, vector in zip(matrix, vectors.T[::-1], strict=False):
        np.testing.assert_allclose(row, vector * np.sign(row @ vector), atol=1e-7)
        assert row[np.abs(row).argmax()] > 0


def test_lda_says_what_it_lacks():
    x, ids = labelled(np.random.default_rng(0))
    stats = transform.class_stats(x, np.array([0, len(x)]), ids, 6, 0)
    with pytest.raises(UserError, match=r"hmm.lda_mllt.dim: 6 is too many .* 6 classes of frames: take at most 4"):
        transform.lda(stats, 6)
    x[:, 1] = x[:, 0]
    stats = transform.class_stats(x, np.array([0, len(x)]), ids, 6, 0)
    with pytest.raises(UserError, match="singular: take more training data"):
        transform.lda(stats, 2)


def mixtures(rng, x, ids, dim):
    """Return two Gaussians for each of three PDFs, after two passes on the frames."""
    means = np.stack([x[ids == p].mean(0) for p in range(3)])
    gmms = gmm.single_gaussians(means, np.stack([x[ids == p].var(0) for p in range(3)]))
    gmms = gmm.split(gmms, np.array([2, 2, 2]), rng)
    for _ in range(2):
        gmms = gmm.update(gmms, gmm.accumulate(gmms, x, ids))
    return gmms


def test_mllt_raises_the_likelihood_of_the_frames():
    rng = np.random.default_rng(5)
    x, ids = labelled(rng, classes=3, dim=5, per_class=400)
    gmms = mixtures(rng, x, ids, 5)
    stats = transform.mllt_stats(gmms, x, ids)
    matrix, gain = transform.mllt(stats)
    assert gain > 0.1
    assert gain == pytest.approx(transform.objective(stats, matrix) - transform.objective(stats, np.eye(5)), abs=1e-12)
    # The gain is what the frames themselves gain, the Jacobian of the transform counted, posteriors kept or better.
    moved = gmms._replace(means=(gmms.means @ matrix.T).astype(np.float32))
    y = (x @ matrix.T).astype(np.float32)
    before = gmm.accumulate(gmms, x, ids)
    after = gmm.accumulate(moved, y, ids)
    jacobian = np.linalg.slogdet(matrix)[1]
    assert (after.log_likelihood - before.log_likelihood) / before.frames + jacobian > gain - 1e-6
    # Nothing is left to gain for any row, and a nearby matrix is worse.
    for _ in range(5):
        other = matrix + 1e-3 * rng.normal(size=matrix.shape)
        assert transform.objective(stats, other) < transform.objective(stats, matrix)


def test_repeated_rows_never_lose(monkeypatch):
    rng = np.random.default_rng(6)
    x, ids = labelled(rng, classes=3, dim=5, per_class=400)
    stats = transform.mllt_stats(mixtures(rng, x, ids, 5), x, ids)
    gains = []
    for sweeps in (1, 2, 3, 10, 200):
        monkeypatch.setattr(transform, "SWEEPS", sweeps)
        gains.append(transform.mllt(stats)[1])
    assert gains[0] > 0 and all(b >= a - 1e-12 for a, b in zip(gains, gains[1:], strict=False))


def test_mllt_leaves_diagonal_data_alone():
    rng = np.random.default_rng(7)
    inverse, shares = 1.0 / rng.uniform(0.5, 3.0, (4, 6)), rng.uniform(100, 300, 4)
    # What frames whose covariance in each Gaussian is just its diagonal one would give.
    squares = np.einsum("m,mi,mj->ij", shares, inverse, 1.0 / inverse)[:, :, None] * np.eye(6)
    matrix, gain = transform.mllt(transform.MlltStats(float(shares.sum()), squares))
    np.testing.assert_allclose(matrix, np.eye(6), atol=1e-12)
    assert gain == pytest.approx(0.0, abs=1e-12)


def test_mllt_statistics_are_the_definition():
    rng = np.random.default_rng(8)
    x, ids = labelled(rng, classes=3, dim=3, per_class=30)
    ids[::5] = -1
    gmms = mixtures(rng, x, ids, 3)
    stats = transform.mllt_stats(gmms, x, ids)
    expected, weight = np.zeros((3, 3, 3)), 0.0
    for frame, pdf in zip(x.astype(np.float64), ids, strict=True):
        if pdf < 0:
            continue
        own = range(gmms.offsets[pdf], gmms.offsets[pdf + 1])
        density = [
            gmms.weights[m] * np.prod(np.exp(-0.5 * (frame - gmms.means[m]) ** 2 / gmms.variances[m]))
            / np.sqrt(np.prod(gmms.variances[m].astype(np.float64)))
            for m in own
        ]  # fmt: skip
        for m, share in zip(own, np.array(density) / sum(density), strict=True):
            away = frame - gmms.means[m]
            weight += share
            for i in range(3):
                expected[i] += share / gmms.variances[m, i] * np.outer(away, away)
    assert stats.weight == pytest.approx(weight)
    np.testing.assert_allclose(stats.squares, expected, rtol=1e-5, atol=1e-6)


def test_mllt_needs_frames():
    with pytest.raises(UserError, match="49 frames that are not silence are too few for 5 dimensions"):
        transform.mllt(transform.MlltStats(49.0, np.tile(np.eye(5), (5, 1, 1))))


def test_plan_is_that_of_kaldi():
    plan = lda_mllt_plan(section(LdaMlltOptions, iterations=35, leaves=1, gaussians=1, dim=40, splice=3))
    assert sorted(plan.realign) == [10, 20, 30] and plan.grow == 25 and plan.power == 0.2


LEXICON = "BA  b a\nDA  d a\nBAD  b a d\n"
FEATURES = {
    "kind": "mfcc", "num_mel_bins": 23, "num_ceps": 4, "low_freq": 20.0, "high_freq": 0.0, "frame_length_ms": 25.0,
    "frame_shift_ms": 10.0, "use_energy": False, "dither": 0.0, "deltas": 0, "cmvn": "none", "cmvn_variance": False,
}  # fmt: skip
HMM = {
    "features": FEATURES, "silence_phone": "SIL", "silence_states": 3, "phone_states": 3, "silence_probability": 0.5,
    "mono": {"iterations": 4, "gaussians": 15}, "tri": {"iterations": 4, "leaves": 30, "gaussians": 30},
    "lda_mllt": {"iterations": 6, "leaves": 30, "gaussians": 40, "dim": 6, "splice": 2},
    "align": "lda_mllt", "beam": 10.0, "retry_beam": 40.0, "acoustic_scale": 0.1, "seed": 1,
}  # fmt: skip
FROM = ("--from-model", "{}/tri.h5", "--from-alignments", "{}/tri.ali.h5")
LDA = (*FROM, "--out", "{}/lda.h5", "--report", "{}/lda.json")


def command(name, folder, *flags, processes=2, options=HMM, deltas=0):
    features = [f"{folder}/train.{shard}.h5" for shard in (0, 1)]
    common = ["--lang-dir", f"{folder}/lang", "--table", f"{folder}/train.tsv", "--features", *features]
    common += ["--cmvn", f"{folder}/train.cmvn.h5", "--options", json.dumps(options), "--feature-options"]
    common += [json.dumps(FEATURES | {"deltas": deltas}), "--processes", str(processes)]
    return main([name, *common, *[flag.format(folder) for flag in flags]])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Write table, features of two shards and lexicon, and train up to the triphones' alignment; one is too short."""
    folder, rng = tmp_path_factory.mktemp("lda"), np.random.default_rng(0)
    means = {phone: rng.normal(size=(3, 4)) * 4 for phone in ("sil", "a", "b", "d")}
    mix = np.eye(4) + 0.6 * rng.normal(size=(4, 4))  # so that the features of a state depend on each other
    spelling = {line.split()[0]: line.split()[1:] for line in LEXICON.splitlines()}
    rows, features = [], {}
    for n in range(30):
        words = [list(spelling)[i] for i in rng.integers(0, 3, 3)]
        phones = ["sil", *[p for w in words for p in spelling[w]], "sil"]
        x = [means[p][s] + rng.normal(size=(rng.integers(3, 6), 4)) @ mix for p in phones for s in range(3)]
        utt = f"utt{n:02d}"
        features[utt] = np.concatenate(x).astype(np.float32)
        rows.append(Utterance(utt, "speaker", f"{utt}.wav", 1.0, " ".join(words), " ".join(words), 0))
    features["utt29"] = features["utt29"][:5]
    rows = with_shards(rows, 2)
    write_table(folder / "train.tsv", rows)
    for shard in (0, 1):
        own = [(u.utterance_id, {"frames": features[u.utterance_id]}) for u in rows if u.shard == shard]
        write_sequences(folder / f"train.{shard}.h5", own, kind="features", attrs={"dim": 4, "frame_shift_s": 0.01})
    (folder / "lexicon.txt").write_text(LEXICON)
    lang = ["--lexicon", f"{folder}/lexicon.txt", "--options", json.dumps(HMM), "--out-dir", f"{folder}/lang"]
    assert main(["lang", *lang]) == 0
    before = "mono"
    assert command("train-mono", folder, "--out", "{}/mono.h5", "--report", "{}/mono.json", deltas=1) == 0
    for name in ("mono", "tri"):
        if name == "tri":
            flags = ("--from-model", f"{{}}/{before}.h5", "--from-alignments", f"{{}}/{before}.ali.h5")
            assert command("train-tri", folder, *flags, "--out", "{}/tri.h5", "--report", "{}/tri.json", deltas=1) == 0
        align(folder, name, 1)
    assert command("train-lda-mllt", folder, *LDA) == 0
    align(folder, "lda", 0)
    return folder


def align(folder, name, deltas):
    flags = ("--model", f"{{}}/{name}.h5", "--out", f"{{}}/{name}.ali.h5", "--report", f"{{}}/{name}.ali.json")
    assert command("align", folder, *flags, deltas=deltas) == 0


def test_the_stage_trains_and_aligns(data):
    model, report = load_model(data / "lda.h5"), json.loads((data / "lda.json").read_text())
    assert model.transform is not None and model.transform.shape == (6, 20)
    assert (model.splice, model.dim, model.gmms.means.shape[1], model.context_width) == (2, 4, 6, 3)
    assert model.feature_options == FEATURES
    assert [row["iteration"] for row in report["mllt"]] == [2, 4, 6]
    assert report["mllt"][0]["gain_per_frame"] > 0 and min(row["gain_per_frame"] for row in report["mllt"]) > -1e-9
    assert (
        report["lda"]["ratios"] == sorted(report["lda"]["ratios"], reverse=True) and len(report["lda"]["ratios"]) == 6
    )
    aligned = json.loads((data / "lda.ali.json").read_text())
    assert aligned["aligned"] == 29 and aligned["failed"][0]["utterance_id"] == "utt29"
    with Sequences(data / "lda.ali.h5", kind="alignment") as store:
        assert len(store) == 29 and store.attrs["num_pdfs"] == model.num_pdfs


def test_likelihoods_are_those_of_the_wheels_on_transformed_frames(data):
    model = load_model(data / "lda.h5")
    frames = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    seen = transform.splice(frames, 2).astype(np.float64) @ model.transform.T.astype(np.float64)
    wheel = khg.DecodableAmDiagGmmScaled(model.am_gmm, model.transition_model, seen.astype(np.float32), 1.0)
    found = model.log_likelihoods(frames)
    for transition, pdf in list(enumerate(model.id2pdf))[1::5]:
        assert found[4, pdf] == pytest.approx(wheel.log_likelihood(4, transition), rel=1e-4)
    with pytest.raises(UserError, match="8 dimensions, but the HMM was trained on 4"):
        model.log_likelihoods(np.zeros((3, 8), np.float32))


def test_processes_do_not_matter(data):
    before = [(data / name).read_bytes() for name in ("lda.h5", "lda.json")]
    assert command("train-lda-mllt", data, *LDA, processes=1) == 0
    assert before == [(data / name).read_bytes() for name in ("lda.h5", "lda.json")]


def test_model_file_keeps_the_transform(data, tmp_path):
    model = load_model(data / "lda.h5")
    save_model(tmp_path / "again.h5", model)
    assert (tmp_path / "again.h5").read_bytes() == (data / "lda.h5").read_bytes()
    save_model(tmp_path / "bad.h5", dataclasses.replace(model, splice=1))
    with pytest.raises(UserError, match="its transform does not fit its mixtures"):
        load_model(tmp_path / "bad.h5")
    with h5py.File(tmp_path / "again.h5", "a") as file:
        del file["transform"]
        file["transform"] = h5py.ExternalLink("elsewhere.h5", "/x")
    with pytest.raises(UserError, match="transform is missing or a link"):
        load_model(tmp_path / "again.h5")


def test_mistakes_are_one_line(data, capsys):
    def error(**changes):
        assert command("train-lda-mllt", data, *LDA[:-4], "--out", "{}/x.h5", "--report", "{}/x.json", **changes) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "deltas 1: splicing takes their place" in error(deltas=1)
    assert "hmm.lda_mllt.dim: 40 is too many" in error(options={k: v for k, v in HMM.items() if k != "lda_mllt"})
    wide = HMM | {"lda_mllt": HMM["lda_mllt"] | {"dim": 19}}
    assert "hmm.lda_mllt.dim: 19 is too many for 20 spliced features" in error(options=wide)
    assert not (data / "x.h5").exists()
