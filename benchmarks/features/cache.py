"""The cache of pooled features: of every train and val image (C,), the mean of its last map.

By choice it is another map's mean, or the class token (see `benchmarks.features.pooled`).
ZOO/features/CHECKPOINT/DATASET-avgpool-KEY (or DATASET-cls-KEY, and so on) holds `train.npy` and
`val.npy` (images x dimensions, in the order of the lists, under the protocol's test transform),
`train_labels.npy` and `val_labels.npy`, `about.json`, how they were computed and how long it took
(see `forward.json` of `extraction` and `took`) and, written last, `complete.json`. The key is a
hash of weights, transform, precision, type and data.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from benchmarks.datasets.loading import entry_name, load_dataset
from benchmarks.features.choice import AVGPOOL
from benchmarks.features.marker import COMPLETE, is_complete, require_unchanged
from benchmarks.protocols import ImageTransform
from benchmarks.results import Split, key_of
from benchmarks.trunks import Trunk
from slurm.errors import UserError
from slurm.failures import UNREADABLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FeatureType = Literal["fp16", "fp32"]
SPLITS = ("train", "val")
ABOUT = "about.json"
ROWS_CHECKED = 8192  # at a time


@dataclass(frozen=True)
class AvgpoolCache:
    """The features of train and val of one checkpoint: what decides them, and where they lie."""

    trunk: Trunk
    data: Path  # the folder of the dataset
    dataset: str  # as protocols name it
    image: ImageTransform
    dtype: FeatureType
    splits: tuple[Split, Split]  # fingerprints of train and val
    feature: str = AVGPOOL  # see features.choice

    @cached_property
    def directory(self) -> Path:
        """Where the files lie once the item is done."""
        name = f"{entry_name(self.dataset)}-{self.feature}"
        key = key_of(name, self.trunk.inputs(), self.image, self.dtype, self.splits)
        return self.trunk.zoo / "features" / self.trunk.checkpoint.name / f"{name}-{key}"

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
            # Folders of earlier builds are of the one feature that there was, and do not say so.
            **({} if self.feature == AVGPOOL else {"feature": self.feature}),
        }

    def done(self) -> bool:
        """Whether the marker is there, and every file that it lists of the size that it had."""
        return is_complete(self.directory)

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
        from benchmarks.features.arrays import open_array  # needs numpy, which plans do not

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
    """`UserError` unless `array` has so many rows of finite floating point."""
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
