"""Check programs, machine, config and corpus before hours are spent: green, yellow and red lines, each with a remedy.

Where SLURM is, it is asked whether it would take the jobs of each rule. Ends with 2 where a line is red, with 0
otherwise. Without a config only programs and machine are checked.
"""

import argparse

EXAMPLES = """examples:
  unisono doctor mine.yaml
  unisono doctor mine.yaml parallel.engine=sync --json
  unisono doctor mine.yaml --submit
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs="*", metavar="CONFIG|KEY=VALUE", help="config files, and changes to them")
    parser.add_argument("--cores", type=int, metavar="N", help="cores of the run that is meant (all)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--profile", metavar="DIR", help="SLURM: of --workflow-profile (profiles/slurm)")
    parser.add_argument("--submit", action="store_true", help="SLURM: also start a short job on two nodes")
    parser.add_argument("--jobs", action="store_true", help="SLURM: only list the jobs of this folder in the queue")
    parser.add_argument("--cancel", action="store_true", help="with --jobs: cancel them")


def run(args: argparse.Namespace) -> int:
    """Check and print; return the exit code."""
    import json
    from pathlib import Path

    from unisono import console
    from unisono.desk import cluster, old_jobs
    from unisono.desk.doctor import examine, worst
    from unisono.errors import UserError

    if args.cancel and not args.jobs:
        raise UserError("--cancel: say --jobs too")
    profile = Path(args.profile) if args.profile else cluster.PROFILE
    if args.jobs:
        numbers, findings = old_jobs.find(Path.cwd(), profile)
        findings += [old_jobs.cancel(numbers)] if args.cancel else []
    else:
        changes = [word for word in args.words if "=" in word]
        findings = examine([word for word in args.words if "=" not in word], changes, args.cores, profile)
        findings += cluster.try_two_nodes(profile) if args.submit else []
    if args.json:
        rows = [finding._asdict() for finding in findings]
        print(json.dumps({"worst": worst(findings), "findings": rows}, indent=1, ensure_ascii=False))
    else:
        for colour, what, remedy in findings:
            print(f"{console.painted(f'{colour:6}', colour)}  {what}" + (f": {remedy}" if remedy else ""))
    return 2 if worst(findings) == "red" else 0
