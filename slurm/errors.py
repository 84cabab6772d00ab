"""The errors that end a command with one clear line instead of a traceback."""


class UserError(Exception):
    """A mistake the user can mend: what is wrong, where, and what to do, in one line (exit 2)."""


class SweepError(Exception):
    """Some items of a sweep failed; the others are finished and kept (exit 1).

    `failures` maps the key of each failed item to its one-line reason.
    """

    def __init__(self, failures: dict[str, str]) -> None:
        self.failures = failures
        shown = "; ".join(f"{key}: {reason}" for key, reason in list(failures.items())[:5])
        more = f" (and {len(failures) - 5} more)" if len(failures) > 5 else ""
        super().__init__(f"{len(failures)} item(s) failed: {shown}{more}")
