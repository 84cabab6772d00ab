"""Whether the files that users have are still those of the plan: a record states the plan's."""

import hashlib
from pathlib import Path

from benchmarks.features.files import SPLITS, feature_path, fingerprint
from benchmarks.features.labels import Labels, label_path, telling_names
from benchmarks.features.marker import require_unchanged
from benchmarks.input_files import is_there
from benchmarks.results import Split
from benchmarks.svm.draws import draws_path, official_folder
from slurm.errors import UserError

_CHANGED = "was changed after this run was planned: run the command again"


def label_split(labels: Labels) -> Split:
    """The fingerprint of labels (N, classes): these users have no list of images."""
    digest = hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()
    return Split(labels.shape[0], labels.shape[1], digest)


def require_extracted(folder: Path, layer: str) -> None:
    """`UserError` unless a layer's files hold what was extracted into `folder`."""
    features = [feature_path(folder, layer, split).name for split in SPLITS]
    labels = [label_path(folder, split).name for split in SPLITS]
    require_unchanged(folder, [*features, *labels, "classes.json"])


def require_layer(folder: Path, layer: str, planned: str) -> None:
    """`UserError` unless a layer's files have the content whose fingerprint is `planned`."""
    paths = [feature_path(folder, layer, split) for split in SPLITS]
    if not all(map(is_there, paths)) or fingerprint(*paths) != planned:
        raise UserError(f"{paths[0]} or {paths[1].name} {_CHANGED}")


def require_labels(
    folder: Path, labels: tuple[Labels, Labels], planned: tuple[Split, Split]
) -> None:
    """`UserError` unless the labels of trainval and test are the planned ones."""
    for name, one, split in zip(SPLITS, labels, planned):
        if label_split(one) != split:
            raise UserError(f"{label_path(folder, name)} {_CHANGED}")


def require_names(folder: Path, names: tuple[str, ...], planned: tuple[str, ...]) -> None:
    """`UserError` unless the label files name the classes as they did."""
    if telling_names(names) != planned:
        raise UserError(f"{folder / 'classes.json'} {_CHANGED}")


def planned_folder(labels: Path, planned: str | None, samples: int, k: int) -> Path | None:
    """Where the official draws lie whose fingerprint is `planned`, None for none.

    `UserError` when they were changed or moved away since.
    """
    if planned is None:
        return None
    folder = official_folder(labels)
    paths = [draws_path(folder or labels, sample, k) for sample in range(1, samples + 1)]
    if folder is None or not all(map(is_there, paths)) or fingerprint(*paths) != planned:
        raise UserError(f"{paths[0]}, or another draw of k={k}, {_CHANGED}")
    return folder
