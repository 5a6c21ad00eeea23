"""Take a feed-forward network of Kaldi, nnet3 or nnet1, as a model: to train on from it, or to decode with it.

It computes what Kaldi computes, to rounding: fixed affine transforms, scales, batch normalisation are folded into the
layers. What our networks cannot do is refused by name; docs/kaldi.md lists it.
"""

import argparse

EXAMPLES = """examples:
  unisono import-model exp/nnet3/tdnn/final.mdl --out kaldi.safetensors
  unisono import-model exp/dnn/final.nnet --feature-transform exp/dnn/final.feature_transform --out kaldi.safetensors

A config starts from it by initialisation: {kind: model, path: kaldi.safetensors}, and a network section that says the
same; the log names it. Priors come with final.mdl of nnet3; for others --priors takes class counts, a text vector
such as ali_train_pdf.counts. Without priors one can train on, but not decode.
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("network", metavar="FILE", help="final.mdl or final.raw of nnet3, or final.nnet of nnet1")
    parser.add_argument("--feature-transform", metavar="FILE", help="of nnet1: what stands before the network")
    parser.add_argument("--priors", metavar="FILE", help="class counts or probabilities, a text vector")
    parser.add_argument("--out", required=True, metavar="FILE", help="model to write, .safetensors")


def run(args: argparse.Namespace) -> None:
    """Read, fold, write."""
    import logging

    from unisono.data.kaldi.networks import read_priors, read_stack
    from unisono.data.kaldi.stack import RecurrentStack
    from unisono.nn.model_file import save_model
    from unisono.recognise.kaldi_lstm import lstm_of
    from unisono.recognise.kaldi_network import model_of

    stack = read_stack(args.network, args.feature_transform)
    priors = read_priors(args.priors) if args.priors else None
    model = lstm_of(stack, priors) if isinstance(stack, RecurrentStack) else model_of(stack, priors)
    save_model(args.out, model.network, model.layout, model.flat, model.log_prior, model.constants)
    settings = {key: value for key, value in model.network.items() if key not in ("feature_dim", "num_pdfs")}
    logging.getLogger("unisono.kaldi").info(
        "%s: %d features a frame, %d pdfs, %s priors; network: %s", args.out, model.network["feature_dim"],
        model.network["num_pdfs"], "no" if model.log_prior is None else "with", settings,
    )  # fmt: skip
