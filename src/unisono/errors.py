"""The one error that a user can mend."""


class UserError(Exception):
    """A mistake in a user's config, files or machine: one line that says what, where and what to do.

    Commands turn it into that line and exit code 2; everything else is a defect of ours and keeps its traceback.
    """
