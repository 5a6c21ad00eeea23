"""One workflow at a time for one folder of results.

Snakemake has locks of its own, but they are files: one that ends removes those of all others in the working directory,
and one that is killed leaves them. This lock is the kernel's and ends with its process.
"""

import errno
import fcntl
import os
from pathlib import Path

from unisono.errors import UserError

_held: list[int] = []  # descriptors, open as long as the process lives
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def hold(path: str | os.PathLike[str]) -> None:
    """Hold the lock file `path` until the process ends; children that it starts do not hold it.

    Raises UserError where another process holds it. Where a file system has no locks nothing is held.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"{Path(path).parent}: another snakemake is making these results: wait for its end, or give this config"
            " another `name`"
        ) from None
    except OSError as error:
        os.close(descriptor)
        if error.errno not in WITHOUT_LOCKS:
            raise
    else:
        _held.append(descriptor)
