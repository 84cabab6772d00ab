"""The images of low-shot training: official label files, or draws that are the same everywhere.

For each class by itself k positives and 19 k negatives are drawn; the published draws were never
seeded, so ours come from a generator keyed by (seed, sample, k, class), the same for every layer,
and are kept in the official format: `train_targets_sample{s}_k{k}.npy`, (N, classes), 1 positive,
0 negative, -1 not drawn.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.labels import read_targets
from benchmarks.whole_files import write_array
from slurm.errors import UserError

Labels = NDArray[np.int8]


def draw(
    labels: Labels, classes: tuple[str, ...], sample: int, k: int, negatives: int, seed: int
) -> Labels:
    """Draw one sample (from 1) of k positives and k * `negatives` negatives a class.

    `labels` is (N, classes) with 1, 0, -1; ignored rows are never drawn. `UserError` when a class
    is too small.
    """
    targets = np.full(labels.shape, -1, dtype=np.int8)
    for column, name in enumerate(classes):
        generator = np.random.default_rng([seed, sample, k, column])
        for value, wanted in ((1, k), (0, k * negatives)):
            there = np.flatnonzero(labels[:, column] == value)
            if len(there) < wanted:
                kind = "positives" if value else "negatives"
                raise UserError(
                    f"class {name} has {len(there)} {kind} in trainval, k={k} needs {wanted}: "
                    "choose smaller --shots"
                )
            targets[generator.choice(there, wanted, replace=False), column] = value
    return targets


def draws_path(folder: Path, sample: int, k: int) -> Path:
    """The official name of a draw."""
    return folder / f"train_targets_sample{sample}_k{k}.npy"


def official_folder(labels: Path) -> Path | None:
    """Where official draws lie beside label files, or None."""
    for folder in (labels / "low_shot" / "labels", labels):
        if any(folder.glob("train_targets_sample*_k*.npy")):
            return folder
    return None


def read_or_draw(
    official: Path | None,
    store: Path,
    labels: Labels,
    classes: tuple[str, ...],
    samples: int,
    k: int,
    negatives: int,
    seed: int,
) -> Labels:
    """All samples of one k, (samples, N, classes) int8.

    With `official` every file must be there; otherwise the draws are made and left in `store`.
    """
    if official is not None:
        paths = [draws_path(official, sample, k) for sample in range(1, samples + 1)]
        drawn = [_official(path, labels, classes) for path in paths]
        return np.stack(drawn)
    drawn = []
    for sample in range(1, samples + 1):
        targets = draw(labels, classes, sample, k, negatives, seed)
        path = draws_path(store, sample, k)
        if not path.exists():
            write_array(path, targets)
        drawn.append(targets)
    return np.stack(drawn)


def _official(path: Path, labels: Labels, classes: tuple[str, ...]) -> Labels:
    targets = read_targets(path, (labels.shape[0], labels.shape[1]))
    for value, kind in ((1, "positive"), (0, "negative")):
        empty = np.flatnonzero(~(targets == value).any(0))
        if len(empty):
            raise UserError(f"{path} has no {kind} row for class {classes[empty[0]]}")
    return targets
