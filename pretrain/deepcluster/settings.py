"""What a run is told beside its recipe and its images."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How one run computes, and the files it keeps."""

    name: str  # of the checkpoint
    key: str  # of the item, in messages
    state: Path  # what an interrupted run continues from
    log: Path  # one JSON line per finished epoch
    identity: str  # which run the state is of; see identity_of
    restart: str  # the name of a restart, which takes up no other state; else empty
    seed: int
    workers: int  # processes that decode images, per training process
    precision: str  # fp32, tf32 or amp; see benchmarks.devices
    fast: bool  # cudnn may choose other algorithms in each run
    save_seconds: float  # between two saves of the state within an epoch
    keep: int = 0  # states of earlier epochs that stay beside the present one
    probe_every: int = 0  # epochs from one k-NN of the trunk to the next; 0 is never

    @property
    def amp(self) -> bool:
        """Half precision where torch's autocast takes it."""
        return self.precision == "amp"
