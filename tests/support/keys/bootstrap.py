"""The keys of features, HMMs, language models and decoding, on a few sentences of the embedded corpus.

Every command is told what the workflow tells it (`config.reads`) and runs once for the same words, in this process:
another value of a key gives other features, models, alignments, frames or hypotheses.
"""

import contextlib
import hashlib
import io
import shutil
from pathlib import Path

import torch

from tests.support.keys.corpus import SPLITS, Corpora, contents, recorded
from tests.support.keys.row import Row
from tests.support.settings import section
from unisono.__main__ import main
from unisono.config import files
from unisono.config.build import from_json
from unisono.config.features import FeatureOptions, Mfcc
from unisono.config.network import DnnOptions, InitialisationOptions
from unisono.config.reads import features_told, told
from unisono.data.features.reader import FeatureReader
from unisono.data.features.write import write_archive
from unisono.errors import UserError
from unisono.hmm.model import load_model
from unisono.nn.dnn import Dnn
from unisono.nn.model_file import save_model


class Bootstrap:
    """The commands before training and after it; each is run once for the same words."""

    def __init__(self, folder, corpora: Corpora):
        self.folder, self.corpora = Path(folder), corpora
        text = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1 <s>\n-1 </s>\n-1 THE\n\n\\end\\\n"
        (corpora.folder / "given.arpa").write_text(text)
        for split in SPLITS:
            mine, options = corpora.mine / split, section(Mfcc, kind="mfcc", num_mel_bins=30)
            write_archive(self.table(split), None, options, mine / "feats.ark", mine / "feats.scp")
        self.base = corpora.base | {
            "hmm": {
                "mono": {"iterations": 3, "gaussians": 80},
                "tri": {"iterations": 3, "leaves": 40, "gaussians": 90},
                "lda_mllt": {"iterations": 3, "leaves": 40, "gaussians": 60, "dim": 20},
            },
            "lm": "loop",
        }  # fmt: skip

    def table(self, split):
        """Return the utterances of a split."""
        return self.corpora.spoken / f"{split}.tsv"

    def made(self, command, *words):
        """Return the folder that a command has written; `{out}` in its words stands for it."""
        words = [str(word) for word in words]
        out = self.folder / hashlib.sha256("\0".join([command, *words]).encode()).hexdigest()[:16]
        if not out.exists():
            out.mkdir(parents=True)
            with contextlib.redirect_stderr(io.StringIO()) as said:
                code = main([command, *(word.replace("{out}", str(out)) for word in words)])
            if code:
                shutil.rmtree(out)
                raise UserError(said.getvalue().splitlines()[-1].replace(str(self.corpora.folder), ""))
        return out

    def features(self, shared, frontend, split, system=""):
        """Return the flags that name a split's features, its statistics and how they are read."""
        section = shared.features if frontend == "net" else shared.hmm.features
        split_of = "train" if section.cmvn == "global" else split
        return [
            "--table", self.table(split),
            "--features", self.base_features(shared, frontend, split),
            "--cmvn", self.made(
                "cmvn", "--table", self.table(split_of), "--features", self.base_features(shared, frontend, split_of),
                "--options", features_told(shared, frontend, "cmvn"), "--out", "{out}/cmvn.h5",
            ) / "cmvn.h5",
            "--feature-options", features_told(shared, frontend, system=system),
        ]  # fmt: skip

    def base_features(self, shared, frontend, split):
        """Return the features of a split before normalisation and deltas."""
        given = files.kaldi_features(shared, frontend, split, "feats.scp")
        options = features_told(shared, frontend, "features")
        flags = ["--table", self.table(split), "--options", options, *(["--feats", given] if given else [])]
        return self.made("features", *flags, "--out", "{out}/features.h5") / "features.h5"

    def read(self, shared, frontend):
        """Return the features of dev as a model reads them, and their step."""
        _, table, _, base, _, cmvn, _, options = self.features(shared, frontend, "dev")
        reader = FeatureReader(table, [base], cmvn, from_json(FeatureOptions, options))
        return reader.frame_shift_s, {row.utterance_id: (x.shape, x.tobytes()) for row, x in reader}

    def network_features(self, settings):
        """Return the features of the network."""
        return self.read(settings.shared, "net")

    def gmm_features(self, settings):
        """Return the features of the GMMs."""
        return self.read(settings.shared, "hmm")

    def lang(self, shared):
        """Return the language directory."""
        lexicon = self.corpora.spoken / "lexicon.txt"
        return self.made("lang", "--lexicon", lexicon, "--options", told("lang", shared), "--out-dir", "{out}")

    def hmm(self, shared, command, *start):
        """Return the folder of a trained system and that of its alignments of train."""
        lda = command == "train-lda-mllt"
        lang, features = self.lang(shared), self.features(shared, "hmm", "train", "lda_mllt" if lda else "")
        common = ["--lang-dir", lang, *features]
        flags = dict(zip(("--from-model", "--from-alignments"), start, strict=False))
        model = self.made(
            command, *common, "--options", told(command, shared), *(word for pair in flags.items() for word in pair),
            "--out", "{out}/model.h5", "--report", "{out}/report.json",
        ) / "model.h5"  # fmt: skip
        aligned = self.made(
            "align", *common, "--options", told("align", shared), "--model", model, "--out", "{out}/ali.h5",
            "--report", "{out}/ali.json",
        )  # fmt: skip
        return model, aligned / "ali.h5"

    def monophones(self, settings):
        """Return the language, monophones and their alignments."""
        made = self.hmm(settings.shared, "train-mono")
        return contents(self.lang(settings.shared)), [contents(path.parent) for path in made]

    def triphones(self, settings):
        """Return triphones and their alignments."""
        made = self.hmm(settings.shared, "train-tri", *self.hmm(settings.shared, "train-mono"))
        return [contents(path.parent) for path in made]

    def transformed(self, settings):
        """Return triphones under LDA and MLLT, and their alignments."""
        tri = self.hmm(settings.shared, "train-tri", *self.hmm(settings.shared, "train-mono"))
        return [contents(path.parent) for path in self.hmm(settings.shared, "train-lda-mllt", *tri)]

    def frames(self, settings):
        """Return the store of training frames."""
        _, aligned = self.hmm(settings.shared, "train-mono")
        words = self.features(settings.shared, "net", "train")
        flags = [
            f"--{store}-{name}"
            for store in ("train", "dev")
            for name in ("table", "features", "cmvn", "alignment", "alignment-report")
        ]
        values = [words[1], words[3], words[5], aligned, aligned.with_suffix(".json")] * 2
        made = self.made(
            "frames", *(word for pair in zip(flags, values, strict=True) for word in pair), *words[6:],
            "--dtype", settings.shared.data.dtype, "--out-train", "{out}/train.h5", "--out-dev", "{out}/dev.h5",
            "--out-info", "{out}/info.json",
        )  # fmt: skip
        return contents(made)

    def language_model(self, settings):
        """Return the language model."""
        return contents(self.arpa(settings).parent)

    def arpa(self, settings):
        """Return the file of the language model."""
        spoken, given = self.corpora.spoken, files.given_arpa(settings.shared)
        return self.made(
            "lm", "--text", spoken / "lm_text.txt", "--lexicon", spoken / "lexicon.txt",
            "--options", told("lm", settings.shared), *(["--arpa", *given] if given else []), "--out", "{out}/lm.arpa",
        ) / "lm.arpa"  # fmt: skip

    def decoded(self, settings):
        """Return what is tuned on dev for a GMM and for a network, and what the GMM finds in test."""
        shared, lang = settings.shared, self.lang(settings.shared)
        model, _ = self.hmm(shared, "train-mono")
        graph = self.made(
            "graph", "--lang-dir", lang, "--arpa", self.arpa(settings), "--model", model,
            "--out", "{out}/HCLG.fst", "--report", "{out}/graph.json",
        ) / "HCLG.fst"  # fmt: skip
        common = ["--lang-dir", lang, "--hmm-model", model, "--graph", graph]
        out = ["--out", "{out}/tune.json", "--hyp", "{out}/dev.hyp"]
        tuned = self.made(
            "tune", "--system", "gmm", *common, *self.features(shared, "hmm", "dev"),
            "--options", told("tune-gmm", shared), *out,
        )  # fmt: skip
        network = self.made(
            "tune", "--system", "dnn", *common, *self.features(shared, "net", "dev"), "--network",
            self.network(shared, load_model(model).num_pdfs), "--options", told("tune-dnn", shared), *out,
        )  # fmt: skip
        found = self.made(
            "decode", "--system", "gmm", *common, *self.features(shared, "hmm", "test"), "--shard", 0,
            "--tuned", tuned / "tune.json", "--options", told("decode", shared), "--out", "{out}/test.hyp",
            "--report", "{out}/test.json",
        )  # fmt: skip
        return [contents(folder) for folder in (tuned, network, found)]

    def network(self, shared, pdfs):
        """Return a network of random weights, with a prior."""
        path = self.folder / f"{shared.features.dim}.{pdfs}.safetensors"
        network = Dnn(section(DnnOptions, hidden=[8], context=[0, 0]), shared.features.dim, pdfs)
        start = section(InitialisationOptions, kind="random", output_gain=3.0)
        params = network.initial_parameters(start, torch.Generator().manual_seed(1))
        save_model(path, network.spec(), network.layout, params, torch.full((pdfs,), 1 / pdfs).log())
        return path


KALDI = recorded("kaldi") | {"features.kind": "kaldi", "hmm.features.kind": "kaldi"}
# With it the front ends may be of two kinds.
SYSTEM = {"decode.systems": [], "hmm.align": "kaldi", "hmm.kaldi": {"dir": "a", "lang": "b", "alignments": ["c"]}}


def features_rows(place, kind, mel_bins, deltas, variance):
    """Return the rows of a section of features, whose default is another kind than `kind`."""
    return [
        Row(f"{place}.kind", [kind, "kaldi"], KALDI | {"hmm.features.kind": "mfcc"} | SYSTEM),
        Row(f"{place}.num_mel_bins", [mel_bins]),
        Row(f"{place}.low_freq", [100]),
        Row(f"{place}.high_freq", [-500]),
        Row(f"{place}.frame_length_ms", [20]),
        Row(f"{place}.frame_shift_ms", [12.5]),
        Row(f"{place}.frame_shift_ms", [12.5], KALDI),
        Row(f"{place}.use_energy", [True]),
        Row(f"{place}.dither", [1.0]),
        Row(f"{place}.deltas", deltas),
        Row(f"{place}.deltas", deltas, KALDI),
        Row(f"{place}.cmvn", ["global", "none"]),
        Row(f"{place}.cmvn", ["global", "none"], KALDI),
        Row(f"{place}.cmvn_variance", [variance]),
        Row(f"{place}.cmvn_variance", [variance], KALDI),
        Row(f"{place}.num_ceps", [12], {f"{place}.kind": "mfcc"}),
        Row(f"{place}.numbers", [12], KALDI, refused=True),
    ]


NETWORK_FEATURES, GMM_FEATURES = (
    features_rows("features", "mfcc", 23, [1, 2], False),
    features_rows("hmm.features", "fbank", 20, [0, 1], True),
)
MONOPHONES = [
    Row("hmm.silence_phone", ["PAUSE"]),
    Row("hmm.silence_states", [3]),
    Row("hmm.phone_states", [2]),
    Row("hmm.silence_probability", [0.2]),
    Row("hmm.mono.iterations", [3]),
    Row("hmm.mono.gaussians", [60]),
    Row("hmm.beam", [1.0]),
    Row("hmm.retry_beam", [0.002], {"hmm.beam": 0.001}),
    Row("hmm.acoustic_scale", [0.2]),
    Row("hmm.seed", [2]),
]
TRIPHONES = [
    Row("hmm.word_position", [True]),
    Row("hmm.tri.iterations", [3]),
    Row("hmm.tri.leaves", [35]),
    Row("hmm.tri.gaussians", [50]),
]
TRANSFORMED = [
    Row("hmm.lda_mllt.iterations", [3]),
    Row("hmm.lda_mllt.leaves", [35]),
    Row("hmm.lda_mllt.gaussians", [50]),
    Row("hmm.lda_mllt.dim", [20, 15], refused=True),
    Row("hmm.lda_mllt.splice", [2]),
]
FRAMES = [Row("data.dtype", ["float32"])]
LANGUAGE_MODELS = [
    Row("lm.kind", ["arpa", "loop"], {"lm.arpa": "given.arpa"}),
    Row("lm.order", [2], {"lm.kind": "ngram"}),
    Row("lm.smoothing", ["witten_bell"], {"lm.kind": "ngram"}),
    Row("lm.vocabulary", ["text"], {"lm.kind": "ngram"}),
    Row("lm.vocabulary", ["text"]),
    Row("lm.arpa", ["given.arpa"], {"lm.kind": "arpa"}, refused=True),
    Row("lm.end_probability", [0.3]),
]
NARROW = {"decode.beam": 1.0, "decode.tuning_beam": 1.0}
DECODED = [
    Row("decode.beam", [0.5], {"decode.min_active": 0}),
    Row("decode.tuning_beam", [2.0]),
    Row("decode.max_active", [20]),
    Row("decode.min_active", [0], NARROW),
    Row("decode.acoustic_scales", [[0.1]]),
    Row("decode.gmm_acoustic_scales", [[0.1]]),
    Row("decode.word_insertion_penalties", [[1.0]]),
    Row("decode.tune_utterances", [1]),
    Row("decode.seed", [5], {"decode.tune_utterances": 1}),
]
