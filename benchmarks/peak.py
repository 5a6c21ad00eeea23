"""Run one command of unisono and write the peak of this process's memory, in bytes, to FOLDER/<process id>.

    python -m benchmarks.peak FOLDER COMMAND ...

VmHWM is of this program alone; the ru_maxrss of a child would begin with the memory of the process that started it.
"""

import os
import re
import sys
from pathlib import Path

from unisono.__main__ import main

if __name__ == "__main__":
    code = main(sys.argv[2:])
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    Path(sys.argv[1], str(os.getpid())).write_text(str(1024 * int(found[1])), encoding="ascii")
    sys.exit(code)
