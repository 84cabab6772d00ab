"""Items that extract pooled features, alone or many checkpoints in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, TypeVar

from benchmarks.datasets.loading import fingerprints, require_classes, require_split
from benchmarks.features.cache import SPLITS, AvgpoolCache, FeatureType
from benchmarks.features.choice import AVGPOOL, check_feature
from benchmarks.features.rows import state_path
from benchmarks.images.checking import check_items
from benchmarks.protocols import ImageTransform
from benchmarks.results import Split, key_of
from benchmarks.trunks import Trunk
from slurm.sweep import Item, Resources


@dataclass(frozen=True)
class ExtractAvgpool(AvgpoolCache):
    """Extract the features of one checkpoint into their place."""

    stage: ClassVar[str] = "features"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The check of the images, where it was asked for."""
        if not self.trunk.check_images:
            return ()
        trunk, splits = self.trunk, dict(zip(SPLITS, self.splits))
        return check_items(trunk.zoo, self.dataset, self.data, splits, trunk.workers)

    @property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.trunk.checkpoint.name}/features/{self.directory.name}"

    @property
    def resources(self) -> Resources:
        """One GPU where there is one; a stopped run continues."""
        return Resources(gpus=int(self.trunk.device != "cpu"), minutes=720, resumable=True)

    @property
    def state(self) -> Path:
        """What an interrupted run notes last."""
        train, val = (state_path(self.directory / f"{split}.npy") for split in SPLITS)
        return val if val.exists() else train

    def run(self) -> None:
        """Pass all images through the trunk."""
        from benchmarks.features.one_pass import extract

        extract([self], self.key)


@dataclass(frozen=True)
class ExtractTogether:
    """Extractions of one dataset: run as one, each image is decoded once for all checkpoints."""

    parts: tuple[ExtractAvgpool, ...]

    stage: ClassVar[str] = ExtractAvgpool.stage

    @cached_property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.parts[0].dataset}/features-{key_of([part.key for part in self.parts])}"

    @property
    def needs(self) -> tuple[Item, ...]:
        """What all of them need, which is the same for each."""
        return self.parts[0].needs

    @property
    def resources(self) -> Resources:
        """Those of one extraction."""
        return self.parts[0].resources

    @property
    def state(self) -> Path:
        """What the first that is not done notes last."""
        return next((part.state for part in self.parts if not part.done()), self.parts[0].state)

    def done(self) -> bool:
        """Whether all of them are."""
        return all(part.done() for part in self.parts)

    def run(self) -> None:
        """Extract those that are not done."""
        from benchmarks.features.one_pass import extract

        extract([part for part in self.parts if not part.done()], self.key)


def avgpool_item(
    trunk: Trunk,
    data: Path,
    dataset: str,
    image: ImageTransform,
    dtype: FeatureType,
    feature: str = AVGPOOL,
) -> ExtractAvgpool:
    """The extraction that a protocol needs.

    `UserError` when the data cannot be read, and for a feature that the trunk has not.
    """
    check_feature(feature, trunk.checkpoint.arch)
    require_split(dataset, data, "train")
    require_classes(dataset, data)
    splits = fingerprints(dataset, data)
    both = (splits["train"], splits["val"])
    return ExtractAvgpool(trunk, data, dataset, image, dtype, both, feature)


class OnFeatures:
    """What the items of all benchmarks on these features have: two fields, and what they say."""

    extraction: ExtractAvgpool
    shared: ExtractTogether | None  # the pass that extracts those of other checkpoints too

    @property
    def trunk(self) -> Trunk:
        """Whose features these are."""
        return self.extraction.trunk

    @property
    def needs(self) -> tuple[Item, ...]:
        """The extraction."""
        return (self.shared or self.extraction,)

    @property
    def measured_on(self) -> dict[str, Split]:
        """The fingerprints of the data by split."""
        return dict(zip(SPLITS, self.extraction.splits))


G = TypeVar("G", bound=Item)


def share_extractions(goals: Sequence[G], most: int) -> list[G]:
    """`goals`, with those that need features of the same images needing one pass of `most` trunks.

    Those are the ones that are `OnFeatures`.
    """
    streams: dict[object, dict[str, ExtractAvgpool]] = {}
    for goal in goals:
        one = _features_of(goal)
        if one is not None:
            streams.setdefault(_stream_of(one), {}).setdefault(one.key, one)
    shared: dict[str, ExtractTogether] = {}
    for extractions in streams.values():
        members = list(extractions.values())
        for first in range(0, len(members), most):
            parts = tuple(members[first : first + most])
            if len(parts) > 1:
                shared |= {part.key: ExtractTogether(parts) for part in parts}
    found: list[G] = []
    for goal in goals:
        one = _features_of(goal)
        whole = None if one is None else shared.get(one.key)
        found.append(goal if whole is None else replace(goal, shared=whole))  # type: ignore[type-var]
    return found


def _features_of(goal: object) -> ExtractAvgpool | None:
    return goal.extraction if isinstance(goal, OnFeatures) else None


def _stream_of(one: ExtractAvgpool) -> object:
    """What two extractions must share to read one stream."""
    trunk = one.trunk
    machine = (trunk.zoo, trunk.device, trunk.workers, trunk.decode, trunk.check_images)
    return (one.data, one.dataset, one.image, one.splits, *machine)
