"""The config files of Kaldi's feature programs, written and read."""

import pytest

from unisono.config.build import build
from unisono.config.features import Fbank, FeatureOptions, Mfcc
from unisono.data.features.kaldi_conf import read_conf, write_conf
from unisono.errors import UserError

NORMALISATION = {"deltas": 1, "cmvn": "global", "cmvn_variance": False}


@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
def test_there_and_back(tmp_path, kind):
    values = {"kind": kind, "high_freq": -400.0, "use_energy": True, "dither": 0.5, "num_mel_bins": 30}
    options = build(FeatureOptions, {**values, **NORMALISATION}, "features")
    name, lines = write_conf(options, 16000)
    assert name == f"{kind}.conf" and lines["high-freq"] == "-400" and lines["use-energy"] == "true"
    assert lines["dither"] == "0.5" and ("num-ceps" in lines) == (kind == "mfcc")
    (tmp_path / name).write_text("".join(f"--{key}={value}\n" for key, value in lines.items()))
    assert read_conf(tmp_path / name, NORMALISATION) == (options, 16000)


def test_what_is_left_out_is_kaldis_default(tmp_path):
    (tmp_path / "mfcc_hires.conf").write_text(
        "# config\n--use-energy=false   # only non-default options\n--sample_frequency=8000\n\n--window-type=povey\n"
    )
    options, rate = read_conf(tmp_path / "mfcc_hires.conf", NORMALISATION)
    expected = Mfcc(kind="mfcc", num_mel_bins=23, dither=1.0, deltas=1, cmvn="global", cmvn_variance=False)
    assert rate == 8000 and options == expected
    (tmp_path / "fbank.conf").write_text("")
    assert read_conf(tmp_path / "fbank.conf", {}) == (Fbank(kind="fbank", num_mel_bins=23, dither=1.0), 16000)
    (tmp_path / "mfcc.conf").write_text("--use-energy\n--cepstral-lifter=22\n--htk-compat=false\n")
    assert read_conf(tmp_path / "mfcc.conf", {})[0].use_energy


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("plp.conf", "", "the name must hold mfcc or fbank"),
        ("mfcc.conf", "--window-type=hamming\n", "line 1: --window-type=hamming: our front end has no such setting"),
        ("mfcc.conf", "\n--cepstral-lifter=0\n", "line 2: .* has no such setting"),
        ("mfcc.conf", "--vtln-warp=1\n", "has no such setting"),
        ("fbank.conf", "--num-ceps=13\n", "has no such setting"),
        ("mfcc.conf", "--num-mel-bins=x\n", "'x' where a value such as 23 should be"),
        ("mfcc.conf", "--use-energy=yes\n", "'yes' where a value such as true should be"),
        ("mfcc.conf", "num-ceps=13\n", "is no option such as --num-mel-bins=23"),
        ("mfcc.conf", "--num-ceps=30\n", "num-ceps no more than these"),
        ("fbank.conf", "--num-mel-bins=1000000000\n", "num-mel-bins must be 3 to 512"),
        ("fbank.conf", "--low-freq=9000\n", "do not fit a sampling rate of 16000 Hz"),
        ("fbank.conf", "--frame-shift=0\n", "at least two and one samples long"),
    ],
)
def test_what_our_front_end_has_not_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_conf(tmp_path / name, {})
    assert "\n" not in str(caught.value)
