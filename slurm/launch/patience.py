"""Faults of a filesystem that a launcher bears: on a network most of them pass."""

import time

from slurm.errors import SweepError, one_line, user_error
from slurm.progress import say

PATIENCE_SECONDS = 1800.0  # with a filesystem that does not work


class Patience:
    """Bears what goes wrong with the files of the run named `run`, for a while."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.began = False  # whether everything has worked once
        self.well = time.monotonic()  # when it last did
        self.said = ""

    def bear(self, error: OSError) -> None:
        """Tell of a fault that can pass; else raise it, or that it has lasted too long.

        What its user can mend at once, such as a full disk, is none to wait for at the start,
        when that user is still there.
        """
        if not self.began and user_error(error):
            raise error
        where = f"{error.filename}: " if error.filename is not None else ""
        fault = one_line(f"{where}{error.strerror or error}")
        if time.monotonic() - self.well > PATIENCE_SECONDS:
            raise SweepError(
                {
                    self.run: f"{fault}, for {PATIENCE_SECONDS / 60:.0f} minutes; python -m slurm "
                    "resume continues it"
                }
            )
        if fault != self.said:
            say(f"{fault}; still trying, and the jobs go on")
        self.said = fault

    def rest(self) -> None:
        """All is well."""
        self.began, self.well, self.said = True, time.monotonic(), ""
