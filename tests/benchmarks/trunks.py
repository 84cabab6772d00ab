"""Random trunks on the CPU, as commands find them."""

from pathlib import Path

from benchmarks.checkpoints.fit import checkpoint_of
from benchmarks.checkpoints.zoo import resolve
from benchmarks.trunks import Trunk


def random_trunk(zoo: Path, ckpt: str = "random:resnet18", seed: int = 0) -> Trunk:
    card = resolve(zoo, ckpt, seed)
    return Trunk(
        zoo, ckpt, checkpoint_of(card), seed=seed, device="cpu", mean=card.mean, std=card.std
    )
