"""The images of low-shot training: official label files, or draws that are the same everywhere.

For each class by itself k positives and 19 k negatives are drawn; the published draws were never
seeded, so ours come from a generator keyed by (seed, sample, k, class), the same for every layer,
and are kept in the official format: `train_targets_sample{s}_k{k}.npy`, (N, classes), 1 positive,
0 negative, -1 not drawn.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.features.labels import MEANINGS, Convention, read_targets
from benchmarks.input_files import is_there
from benchmarks.svm.classes import check_draw
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
    check_draw(labels, classes, k, negatives)
    targets = np.full(labels.shape, -1, dtype=np.int8)
    for column in range(len(classes)):
        generator = np.random.default_rng([seed, sample, k, column])
        for value, wanted in ((1, k), (0, k * negatives)):
            there = np.flatnonzero(labels[:, column] == value)
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
    convention: Convention = "fair",
) -> Labels:
    """All samples of one k, (samples, N, classes) int8.

    With `official` every file must be there; otherwise the draws are made and left in `store`.
    """
    if official is not None:
        read = [
            read_official(official, labels, classes, sample, k, negatives, convention)
            for sample in range(1, samples + 1)
        ]
        # With so many to choose from, no two draws are the same by chance.
        if ((labels == 0).sum(0) >= 2 * k * negatives).any():
            _require_different(read, official, k)
        return np.stack(read)
    drawn = []
    for sample in range(1, samples + 1):
        targets = draw(labels, classes, sample, k, negatives, seed)
        path = draws_path(store, sample, k)
        if not path.exists():
            write_array(path, targets)
        drawn.append(targets)
    return np.stack(drawn)


def read_official(
    folder: Path,
    labels: Labels,
    classes: tuple[str, ...],
    sample: int,
    k: int,
    negatives: int,
    convention: Convention,
) -> Labels:
    """One official draw, (N, classes) int8; `UserError` unless it is one of `labels`.

    Every class has k positives and k * `negatives` negatives, which the labels of trainval call so
    too: a file in another convention, of other images or with other columns does not.
    """
    path = draws_path(folder, sample, k)
    if not is_there(path):
        there = sorted(found.name for found in folder.glob("train_targets_sample*_k*.npy"))
        shown = ", ".join(there[:8]) + (f" and {len(there) - 8} more" if len(there) > 8 else "")
        raise UserError(
            f"the official draw {path} is missing; there are {shown}: choose --shots and "
            "--samples among them, complete them, or move them away to have all drawn anew"
        )
    targets = read_targets(path, (labels.shape[0], labels.shape[1]), convention)
    for value, kind, wanted in ((1, "positive", k), (0, "negative", k * negatives)):
        counts = (targets == value).sum(0)
        odd = np.flatnonzero(counts != wanted)
        if len(odd):
            raise UserError(
                f"{path} has {counts[odd[0]] or 'no'} {kind} rows for class {classes[odd[0]]}, "
                f"a draw of k={k} has {wanted}, when its values are read as {MEANINGS[convention]}"
                f" (not drawn): {_other_values(convention)}"
            )
    wrong = (targets != -1) & (targets != labels)
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise UserError(
            f"{path} has {targets[row, column]} in row {row} for class {classes[column]}, but the "
            f"labels of trainval have {labels[row, column]} there: they must be of the same images "
            "and classes in the same order, and in one convention (--label-values)"
        )
    return targets


def _require_different(draws: list[Labels], folder: Path, k: int) -> None:
    """`UserError` when two draws are the same one, as by a file that was copied over another."""
    for later, targets in enumerate(draws):
        for earlier in range(later):
            if np.array_equal(targets, draws[earlier]):
                raise UserError(
                    f"{draws_path(folder, later + 1, k)} is the same draw as "
                    f"{draws_path(folder, earlier + 1, k).name}, so that their mean and spread "
                    "would be of fewer draws: replace it by the right file"
                )


def _other_values(convention: Convention) -> str:
    if convention == "voc":
        return "write the draws in the convention of the label files"
    return "VOC's own convention needs --label-values voc"
