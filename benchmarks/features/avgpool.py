"""The cache of average-pooled features: the last map of every train and val image, pooled to (C,).

ZOO/features/CHECKPOINT/DATASET-avgpool-KEY holds `train.npy` and `val.npy` (images x dimensions,
in the order of the lists, under the protocol's test transform), `train_labels.npy` and
`val_labels.npy`, `about.json` and, written last, `complete.json`. The key is a hash of weights,
transform, precision, type and data.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import msgspec

from benchmarks.datasets.loading import (
    entry_name,
    fingerprints,
    load_dataset,
    require_classes,
    require_split,
)
from benchmarks.features.arrays import open_array
from benchmarks.features.marker import COMPLETE, is_complete, require_unchanged
from benchmarks.features.rows import state_path
from benchmarks.images.checking import check_items
from benchmarks.protocols import ImageTransform
from benchmarks.results import Split, key_of
from benchmarks.trunks import Trunk
from slurm.errors import UserError
from slurm.files import UNREADABLE
from slurm.sweep import Item, Resources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FeatureType = Literal["fp16", "fp32"]
SPLITS = ("train", "val")
ABOUT = "about.json"
ROWS_CHECKED = 8192  # at a time


@dataclass(frozen=True)
class ExtractAvgpool:
    """Extract the features of train and val of one checkpoint into `directory`."""

    trunk: Trunk
    data: Path  # the folder of the dataset
    dataset: str  # as protocols name it
    image: ImageTransform
    dtype: FeatureType
    splits: tuple[Split, Split]  # fingerprints of train and val

    stage: ClassVar[str] = "extract"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The check of the images, where it was asked for."""
        if not self.trunk.check_images:
            return ()
        trunk, splits = self.trunk, dict(zip(SPLITS, self.splits))
        return check_items(trunk.zoo, self.dataset, self.data, splits, trunk.workers)

    @cached_property
    def directory(self) -> Path:
        """Where the files lie once the item is done."""
        name = f"{entry_name(self.dataset)}-avgpool"
        key = key_of(name, self.trunk.inputs(), self.image, self.dtype, self.splits)
        return self.trunk.zoo / "features" / self.trunk.checkpoint.name / f"{name}-{key}"

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

    @property
    def result(self) -> Path:
        """The marker, written last."""
        return self.directory / COMPLETE

    @property
    def about(self) -> dict[str, Any]:
        """All that decides the features, in words for whoever finds the folder."""
        of = self.trunk.checkpoint
        return {
            "dataset": entry_name(self.dataset),
            "weights": of.weights,
            "arch": of.arch,
            "sobel": of.sobel,
            "mean": list(self.trunk.mean),
            "std": list(self.trunk.std),
            "precision": self.trunk.precision,
            "decode": self.trunk.decode,
            "image": msgspec.to_builtins(asdict(self.image)),
            "dtype": self.dtype,
            "train": msgspec.to_builtins(self.splits[0]),
            "val": msgspec.to_builtins(self.splits[1]),
        }

    def done(self) -> bool:
        """Whether the marker is there, and every file that it lists of the size that it had."""
        return is_complete(self.directory)

    def run(self) -> None:
        """Pass all images through the trunk."""
        from benchmarks.features.one_pass import extract

        extract([self], self.key)

    def require_own(self) -> None:
        """`UserError` when what lies in the folder was extracted for something else."""
        path = self.directory / ABOUT
        try:
            found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except FileNotFoundError:
            return
        except UNREADABLE:
            found = {}
        wanted = self.about
        differs = [name for name in wanted if found.get(name) != wanted[name]]
        if differs:
            where = f"{self.trunk.checkpoint.name}/{self.directory.name}"
            raise UserError(
                f"the features in {self.directory} are of another {' and '.join(differs[:3])} than "
                f"this run needs: python -m benchmarks.features remove {where}, and run again"
            )

    def read(self) -> "Features":
        """Memory-map the features; `UserError` unless they are what was extracted, all finite."""
        self.require_own()
        names = [f"{split}.npy" for split in SPLITS]
        require_unchanged(self.directory, names)
        train, val = (open_array(self.directory / name) for name in names)
        dataset = load_dataset(self.dataset, self.data)
        labels = []
        for split, planned, rows in zip(SPLITS, self.splits, (train, val)):
            dataset.splits[split].require(planned)
            labels.append(dataset.splits[split].labels.astype("int64"))
            check_rows(rows, len(labels[-1]), self.directory / f"{split}.npy")
        return Features(train, labels[0], val, labels[1], dataset.splits["train"].classes)


@dataclass(frozen=True, eq=False)
class Features:
    """Features (N, D) and class indices (N,) of both splits; the features may be mapped files."""

    train: "NDArray[Any]"
    train_labels: "NDArray[np.int64]"
    val: "NDArray[Any]"
    val_labels: "NDArray[np.int64]"
    classes: tuple[str, ...]


def check_rows(array: "NDArray[Any]", rows: int, path: Path) -> None:
    """`UserError` unless `array` has so many rows of finite floating point, not all of them zero."""
    import numpy as np

    if array.ndim != 2 or array.dtype.kind != "f" or len(array) != rows or 0 in array.shape:
        raise UserError(
            f"{path} holds {array.dtype} of shape {array.shape}; expected {rows} rows of floating "
            "point, one an image"
        )
    for start in range(0, rows, ROWS_CHECKED):
        block = array[start : start + ROWS_CHECKED]
        finite = np.isfinite(block).all(1)
        if not finite.all():
            row = start + int(np.flatnonzero(~finite)[0])
            raise UserError(
                f"{path} holds NaN or infinity in row {row}: look at the checkpoint, remove these "
                "features with python -m benchmarks.features remove, and extract them again"
            )


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

    @property
    def result(self) -> Path:
        """The marker of the first that is not done."""
        return next((part.result for part in self.parts if not part.done()), self.parts[0].result)

    def done(self) -> bool:
        """Whether all of them are."""
        return all(part.done() for part in self.parts)

    def run(self) -> None:
        """Extract those that are not done."""
        from benchmarks.features.one_pass import extract

        extract([part for part in self.parts if not part.done()], self.key)


def avgpool_item(
    trunk: Trunk, data: Path, dataset: str, image: ImageTransform, dtype: FeatureType
) -> ExtractAvgpool:
    """The extraction that a protocol needs; `UserError` when the data cannot be read."""
    require_split(dataset, data, "train")
    require_classes(dataset, data)
    splits = fingerprints(dataset, data)
    return ExtractAvgpool(trunk, data, dataset, image, dtype, (splits["train"], splits["val"]))


G = TypeVar("G", bound=Item)


def share_extractions(goals: Sequence[G], most: int) -> list[G]:
    """`goals`, with those that need features of the same images needing one pass of `most` trunks.

    Such goals have a field `extraction`, an `ExtractAvgpool`, and one `shared` for the pass.
    """
    streams: dict[object, dict[str, ExtractAvgpool]] = {}
    for goal in goals:
        one = getattr(goal, "extraction", None)
        if isinstance(one, ExtractAvgpool):
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
        one = getattr(goal, "extraction", None)
        whole = shared.get(one.key) if isinstance(one, ExtractAvgpool) else None
        found.append(goal if whole is None else replace(goal, shared=whole))  # type: ignore[type-var]
    return found


def _stream_of(one: ExtractAvgpool) -> object:
    """What two extractions must share to read one stream."""
    trunk = one.trunk
    machine = (trunk.zoo, trunk.device, trunk.workers, trunk.decode, trunk.check_images)
    return (one.data, one.dataset, one.image, one.splits, *machine)

