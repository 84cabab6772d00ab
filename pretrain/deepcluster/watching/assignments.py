"""Which image was in which cluster: one small file a clustering, the first one too.

`zoo/logs/NAME/clusters/epoch-0001.npy` holds the clusters (N,) that epoch 1 was trained on, in the
order of the images, as the smallest unsigned whole numbers that the number of clusters needs: two
bytes an image for 10,000 clusters. Labels hardly compress: a cluster says little of the next image.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slurm.errors import UserError
from slurm.files import atomic_path

_NAME = re.compile(r"epoch-(\d{4,})\.npy")


def assignments_folder(log: Path) -> Path:
    """Where the assignments of the run with this log lie."""
    return log.parent / "clusters"


def write_assignment(folder: Path, epoch: int, labels: NDArray[np.int64], clusters: int) -> None:
    """Keep the clusters (N,) that `epoch`, counted from 1, is trained on.

    Files of later epochs are of an earlier run of that name, and are removed.
    """
    small = labels.astype(np.min_scalar_type(clusters - 1))
    with atomic_path(folder / f"epoch-{epoch:04d}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, small, allow_pickle=False)
    for later, path in assignment_files(folder).items():
        if later > epoch:
            path.unlink(missing_ok=True)


def assignment_files(folder: Path) -> dict[int, Path]:
    """The file of each clustering, by the epoch that was trained on it first, ascending."""
    found = {
        int(name[1]): path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (name := _NAME.fullmatch(path.name))
    }
    return dict(sorted(found.items()))


def read_assignment(path: Path, images: int | None = None) -> NDArray[np.int64]:
    """The clusters (N,) in a file; `UserError` when it is none, or of another number of images."""
    try:
        labels: NDArray[np.unsignedinteger] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} holds no assignment of images to clusters ({error})") from None
    if labels.ndim != 1 or labels.dtype.kind != "u" or not len(labels):
        raise UserError(f"{path} holds no assignment of images to clusters")
    if images is not None and len(labels) != images:
        raise UserError(f"{path} is of {len(labels)} images, not of the {images} of --data")
    return labels.astype(np.int64)
