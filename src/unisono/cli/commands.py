"""The table of commands; `train-job` is the module `train_job` beside it, imported only when it is called."""

from typing import NamedTuple


class Command(NamedTuple):
    """What a command does, in one sentence, and whether a user types it; all others are called by the workflow."""

    does: str
    typed: bool = False


COMMANDS = {
    "corpus": Command(
        "Make a table and a config of a folder of recordings, or a corpus of a public original.", typed=True
    ),
    "doctor": Command("Check programs, machine, config and corpus before hours are spent.", typed=True),
    "run": Command("Train, decode, score and report as a config says, with one bar and the answer.", typed=True),
    "chaos": Command(
        "Kill the processes of a training at random moments, resume it, and certify that nothing was lost.", typed=True
    ),
    "status": Command("Say how far a run is, how fast, and what time is left.", typed=True),
    "log": Command("Write the course of training for TensorBoard, MLflow or Weights & Biases.", typed=True),
    "list": Command("List all runs of a folder of results.", typed=True),
    "clean": Command("Remove what neither use, resume nor report of finished runs needs.", typed=True),
    "transcribe": Command("Recognise the words of recordings with a trained system.", typed=True),
    "export": Command("Gather all that a run's recogniser needs in one folder.", typed=True),
    "redeal": Command("Let an unfinished run of virtual or sync go on with another number of workers.", typed=True),
    "rate-finder": Command("Try learning rates on a few thousand frames and suggest one.", typed=True),
    "compare": Command("Test whether two systems differ on the same utterances.", typed=True),
    "loglikes": Command("Write a network's log-likelihoods as a Kaldi archive.", typed=True),
    "import-model": Command("Take a network of Kaldi as a model to start from.", typed=True),
    "perturb": Command("Write the table of the training set heard faster and slower."),
    "features": Command("Compute the base features of one shard of one split."),
    "cmvn": Command("Sum the statistics for mean and variance normalisation of one split."),
    "lang": Command("Turn a lexicon into the language directory."),
    "lm": Command("Estimate the language model, restrict a given one, or write a word loop."),
    "train-mono": Command("Train monophone Gaussian HMMs from a flat start."),
    "train-tri": Command("Train triphone Gaussian HMMs on a decision tree."),
    "train-lda-mllt": Command("Train triphones on spliced features under LDA and MLLT."),
    "adopt-hmm": Command("Copy the HMM of another config's finished run."),
    "adopt-kaldi": Command("Take model, language and decoding graph of a system of Kaldi."),
    "adopt-kaldi-alignments": Command("Take Kaldi's alignments of one split."),
    "hold-out": Command("Set a seeded tenth of the training table apart, to stand for dev."),
    "align": Command("Align a split with a trained HMM."),
    "align-dnn": Command("Align a split with the network of another config's finished run."),
    "graph": Command("Build the decoding graph HCLG of one HMM."),
    "frames": Command("Join features and alignments into the frames stores of train and dev."),
    "configure": Command("Write a run's config: the settings that decide what its training computes."),
    "plan": Command("Plan the iterations of a run, their workers, and the slice that each reads."),
    "constants": Command("Estimate the input transform of a network, and the scales of its softmax's input."),
    "join-stack": Command("Join a finished stack of RBMs into the model that training starts from."),
    "init-model": Command("Write the model that a run starts from."),
    "train-job": Command("Train one worker for one iteration (engine jobs)."),
    "combine": Command("Combine the workers of one iteration (engine jobs)."),
    "diagnose": Command("Evaluate the combined model of one iteration (engine jobs)."),
    "train": Command("Train a block of iterations in one command (all engines but jobs)."),
    "finish": Command("Write the candidate models of a run, its final model and ledger."),
    "metrics": Command("Put the numbers of all iterations of a run together."),
    "tune": Command("Choose acoustic scale and word-insertion penalty of one system on dev."),
    "decode": Command("Decode one shard of a split at the tuned setting."),
    "score": Command("Count the word errors of one decoded system."),
    "choose": Command("Copy the chosen candidate's score into its run's folder."),
    "recogniser": Command("Describe the recogniser of a run in recogniser.json."),
    "report": Command("Tabulate and plot the results of a finished pipeline."),
    "answer": Command("Print the last lines of a run: word error rates, warnings, what next."),
    "study": Command("Tabulate and plot the results of a study."),
    "claims": Command("Set a paper's claims against what its study measured."),
    "config-reference": Command("Write the table of all config keys into config/README.md."),
}


def module_of(name: str) -> str:
    """Return the dotted name of a command's module, which has `register(parser)` and `run(args)`."""
    return f"unisono.cli.{name.replace('-', '_')}"
