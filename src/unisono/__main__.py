"""The command `unisono`, as typed and as the rules call it.

Where the workflow has a warm interpreter the command runs there; otherwise `unisono.command` runs it in this process.
"""

import sys
from collections.abc import Sequence

from unisono.warm import client


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command in this process; return its exit code."""
    from unisono import command  # imported late: a client of the warm interpreter starts without it

    return command.main(arguments)


if __name__ == "__main__":
    served = client.run(sys.argv[1:])
    sys.exit(main() if served is None else served)
