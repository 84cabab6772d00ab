"""How long it took to extract features: the seconds of all runs that did, by the device's name.

`took.json` has them by the clock. Where several trunks read the images in one pass, each bears an
equal part of it, as linear probes of one stream do: `share.json` has this trunk's, in seconds, too.
"""

from pathlib import Path

import msgspec

from slurm.files import write_bytes

TOOK = "took.json"  # beside the features
SHARE = "share.json"  # likewise; only where it differs


class Took:
    """The seconds of one folder of features, and what a run on one device adds to them."""

    def __init__(self, directory: Path, device: str, *, begun: bool) -> None:
        """`begun` says that some features are there: if their seconds are not, none are noted."""
        self._directory, self._device = directory, device
        self._clock, self._share = read_seconds(directory), read_share(directory)
        if self._clock is None and not begun:
            self._clock = {}

    def add(self, seconds: float, trunks: int) -> None:
        """So many, in which images passed `trunks` trunks, this one too."""
        if self._clock is None:
            return
        if self._share is None:
            self._share = dict(self._clock)
        for found, more in ((self._clock, seconds), (self._share, seconds / trunks)):
            found[self._device] = found.get(self._device, 0.0) + more

    def save(self) -> None:
        """Note them in the folder."""
        if self._clock is None:
            return
        write_bytes(self._directory / TOOK, msgspec.json.encode(self._clock))
        if self._share not in (None, self._clock):
            write_bytes(self._directory / SHARE, msgspec.json.encode(self._share))


def read_seconds(directory: Path) -> dict[str, float] | None:
    """How long it took to extract the features in `directory`, by device; None if not noted."""
    return _read(directory / TOOK)


def read_share(directory: Path) -> dict[str, float] | None:
    """Those of the seconds that are this trunk's; None where all are, or where it is not noted."""
    return _read(directory / SHARE)


def _read(path: Path) -> dict[str, float] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
