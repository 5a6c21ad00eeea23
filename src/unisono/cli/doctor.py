"""Check programs, machine, config and corpus before hours are spent: green, yellow and red lines, each with a remedy.

Ends with 2 where a line is red, with 0 otherwise. Without a config only programs and machine are checked.
"""

import argparse

EXAMPLES = """examples:
  unisono doctor mine.yaml
  unisono doctor mine.yaml parallel.engine=sync --json
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.epilog = EXAMPLES
    parser.add_argument("words", nargs="*", metavar="CONFIG|KEY=VALUE", help="config files, and changes to them")
    parser.add_argument("--cores", type=int, metavar="N", help="cores of the run that is meant (all)")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Check and print; return the exit code."""
    import json

    from unisono import console
    from unisono.desk.doctor import examine, worst

    changes = [word for word in args.words if "=" in word]
    findings = examine([word for word in args.words if "=" not in word], changes, args.cores)
    if args.json:
        rows = [finding._asdict() for finding in findings]
        print(json.dumps({"worst": worst(findings), "findings": rows}, indent=1, ensure_ascii=False))
    else:
        for colour, what, remedy in findings:
            print(f"{console.painted(f'{colour:6}', colour)}  {what}" + (f": {remedy}" if remedy else ""))
    return 2 if worst(findings) == "red" else 0
