"""One DeepCluster run as an item of a sweep; light, so that planning needs no torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from benchmarks.cards import Card, card_path, read_card
from benchmarks.results import Split
from pretrain.deepcluster.recipes import Recipe
from slurm.sweep import Item, Resources

# Fields of a recipe that do not decide what an epoch does to the weights.
_FREE = ("epochs", "config")
_MISSING = object()


@dataclass(frozen=True)
class Pretrain:
    """Train one recipe on one folder of images and register the backbone under `name`."""

    zoo: Path
    name: str
    recipe: Recipe
    data: Path
    images: Split  # fingerprint of the training images
    seed: int = 0
    device: str = "auto"
    workers: int = 0  # processes that decode images, per training process
    amp: bool = False  # half precision, on GPUs
    save_seconds: float = 300.0  # between two saves of the state within an epoch

    stage: ClassVar[str] = "pretrain"
    needs: ClassVar[tuple[Item, ...]] = ()

    @property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.name}/deepcluster"

    @property
    def state(self) -> Path:
        """What an interrupted run continues from."""
        return self.zoo / "state" / self.name / "deepcluster.pt"

    @property
    def log(self) -> Path:
        """One JSON line per finished epoch."""
        return self.zoo / "logs" / self.name / "deepcluster.jsonl"

    @property
    def resources(self) -> Resources:
        """One process per GPU, as many as are asked for; it saves, and continues when requeued."""
        gpus = int(self.device != "cpu")
        return Resources(gpus=gpus, minutes=1440, distributed=True, resumable=True)

    @property
    def identity(self) -> str:
        """JSON of all that decides an epoch's weights: recipe, seed, images and half precision."""
        fields = {key: value for key, value in asdict(self.recipe).items() if key not in _FREE}
        content = {
            "recipe": fields,
            "seed": self.seed,
            "images": self.images.sha256,
            "sizes": self.images.sizes,
            "amp": self.amp,
        }
        return msgspec.json.encode(content, order="deterministic").decode()

    def card(self) -> Card | None:
        """The checkpoint that is registered under this name, by whatever run."""
        return read_card(self.zoo, self.name) if card_path(self.zoo, self.name).exists() else None

    def done(self) -> bool:
        """Whether the registered checkpoint is this very run's, trained to its last epoch."""
        card = self.card()
        if card is None or card.method != "deepcluster":
            return False
        found = (card.pretraining.get("identity"), card.pretraining.get("epochs"))
        return found == (self.identity, self.recipe.epochs)

    def run(self) -> None:
        """Train from the saved state, if there is one, and register the backbone."""
        from pretrain.deepcluster.train import pretrain

        pretrain(self)


def differences(found: str, wanted: str) -> str:
    """What differs between two identities: `seed 0, not 1; recipe.pca 64, not 32`."""
    left, right = (_flatten(msgspec.json.decode(text)) for text in (found, wanted))
    return "; ".join(
        f"{name} {left.get(name)}, not {right.get(name)}"
        for name in sorted({*left, *right})
        if left.get(name, _MISSING) != right.get(name, _MISSING)
    )


def _flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
