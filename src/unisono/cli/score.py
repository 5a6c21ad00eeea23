"""Count the word and character errors of one decoded system.

Writes into --out-dir: hyp.txt (all shards, sorted), wer.json, wer.txt, per_speaker.tsv, confusions.tsv.
"""

import argparse
from pathlib import Path


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--table", required=True, help="table of the split that was decoded (transcripts, speakers)")
    parser.add_argument("--hyp", required=True, nargs="+", help="hypotheses, Kaldi text form, one file a shard")
    parser.add_argument("--tuned", help="tune.json of this system: the setting and its word error rate on dev")
    parser.add_argument("--tuned-elsewhere", help="tune.json of another system, whose setting this one was decoded at")
    parser.add_argument("--system", required=True, help="name of the system, as the tables show it")
    parser.add_argument("--seed", required=True, type=int, help="seed of the bootstrap interval")
    parser.add_argument("--out-dir", required=True, help="folder of the results")


def run(args: argparse.Namespace) -> None:
    """Read references and hypotheses, count, write."""
    import logging

    from unisono.data.corpus.references import read_references
    from unisono.files import write_json, write_text
    from unisono.score import results, tables, wer
    from unisono.score.characters import evaluate_characters
    from unisono.score.statistics import bootstrap_wer

    references, speakers = read_references(args.table)
    hypotheses = wer.read_text(args.hyp)
    tuned = results.read_tuning(args.tuned or args.tuned_elsewhere)
    if args.tuned_elsewhere:
        tuned["dev_wer"] = None  # that of the other system
    score = wer.evaluate(references, hypotheses)
    as_sclite = wer.evaluate(references, hypotheses, wer.SCLITE)
    characters = evaluate_characters(references, hypotheses)
    intervals = [bootstrap_wer(counts, speakers, seed=args.seed) for counts in (score.counts, characters)]

    out_dir = Path(args.out_dir)
    write_text(out_dir / "hyp.txt", wer.format_text(hypotheses))
    write_text(out_dir / "wer.txt", tables.wer_text(score, as_sclite, speakers))
    write_text(out_dir / "per_speaker.tsv", tables.per_speaker(wer.by_speaker(score, speakers)))
    write_text(out_dir / "confusions.tsv", tables.confusion_table(score.pairs.values()))
    total = wer.add_up(characters.values())
    write_json(out_dir / "wer.json", results.summarise(args.system, score, intervals[0], total, intervals[1], tuned))

    log = logging.getLogger("unisono.score")
    for utterance in score.missing:
        log.warning("%s: no hypothesis, counted as deletions", utterance)
    log.info("%s: %s", args.system, wer.kaldi_lines(score.total).splitlines()[0])
