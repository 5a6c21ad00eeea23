"""The one error of ours that a user can mend, and those of the machine."""

import errno

# What a user can do about errors of the machine; any other OSError is shown with its traceback.
MACHINE = {
    errno.ENOSPC: "free space, then start again",
    errno.EDQUOT: "free space, then start again",
    errno.EACCES: "change its rights or choose another place",
    errno.EPERM: "change its rights or choose another place",
    errno.EROFS: "change its rights or choose another place",
    errno.ENAMETOOLONG: "choose shorter names",
    errno.EMFILE: "allow more open files (ulimit -n 8192) or lower corpus.shards",
    errno.ENFILE: "the machine has too many open files: close some",
    errno.EIO: "the disk or its network failed: look at dmesg, then start again",
}


class UserError(Exception):
    """A mistake in a user's config, files or machine: one line that says what, where and what to do.

    Commands turn it into that line and exit code 2; everything else is a defect of ours and keeps its traceback.
    Characters that cannot be seen, as names of files may hold, become their escape sequences.
    """

    def __init__(self, line: str) -> None:
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line))
