"""Which frozen trunk a benchmark measures; light, so that planning needs no torch."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Checkpoint


@dataclass(frozen=True)
class Trunk:
    """A checkpoint of a zoo and where its forward passes run."""

    zoo: Path
    ckpt: str  # a registered name, a path to a checkpoint file, or random:ARCH
    checkpoint: Checkpoint
    seed: int = 0
    device: str = "auto"
    workers: int = 0  # processes that decode images, per process that trains
    amp: bool = False  # half-precision forward of the frozen trunk
    mean: tuple[float, ...] = ()  # of the pixels, from the card
    std: tuple[float, ...] = ()

    def inputs(self) -> tuple[object, ...]:
        """All that the features of an image depend on, for a cache key or a result's name."""
        checkpoint = self.checkpoint
        trunk = (checkpoint.weights, checkpoint.arch, checkpoint.sobel)
        return (*trunk, self.mean, self.std, self.amp)


def find_trunk(
    zoo: Path, ckpt: str, *, seed: int, device: str, workers: int = 0, amp: bool = False
) -> Trunk:
    """The trunk that `--ckpt` names; `UserError` when there is none."""
    from benchmarks import registry

    card = registry.resolve(zoo, ckpt, seed)
    checkpoint = Checkpoint(card.name, card.arch, card.weights, card.sobel, card.config)
    return Trunk(zoo, ckpt, checkpoint, seed, device, workers, amp, card.mean, card.std)
