"""Whether a folder is a whole copy of a public dataset: what there is against what there should be.

Counts are compared with the official ones; every file of the lists is decoded once. What is found
is kept in the zoo as it goes, where `--check-images` of the benchmarks finds it too.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.loading import fingerprints, load_dataset
from benchmarks.datasets.splits import ImageSplit
from benchmarks.images.checking import Checked, CheckImages, Findings
from benchmarks.results import is_done, read
from slurm.errors import UserError, one_line
from slurm.progress import progress

NAMED = 5  # files that are named of each kind
# By split, images and classes, as the datasets' own pages state them.
OFFICIAL: dict[str, dict[str, tuple[int, int]]] = {
    entry.name: dict(entry.sizes) for entry in DATASETS.values() if entry.sizes
}
# What only the folder of one dataset holds.
_SIGNS: dict[str, tuple[str, ...]] = {
    "voc07": ("ImageSets/Main", "JPEGImages"),
    "inaturalist18": ("train_val2018", "train2018.json", "annotations/train2018.json"),
    "places205": ("trainvalsplit_places205", "data/vision/torralba/deeplearning/images256"),
}
_SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class SplitReport:
    """One split of a copy."""

    images: int
    classes: int
    official_images: int
    official_classes: int
    missing: tuple[str, ...]  # paths
    unreadable: dict[str, str]  # by path, why, which names the path too
    warned: int  # of which libjpeg warns, or whose checksums differ; official copies have some
    warnings: dict[str, str]  # the first of them
    unseen: int = 0  # JPEG files of which libjpeg cannot say whether they are sound

    def faults(self) -> list[str]:
        """What keeps this from being a whole copy, in few words each."""
        found = []
        for what, here, official in (
            ("images", self.images, self.official_images),
            ("classes", self.classes, self.official_classes),
        ):
            if here != official:
                found.append(f"{here:,} {what} instead of {official:,}")
        found += [f"{len(self.missing):,} missing"] if self.missing else []
        found += [f"{len(self.unreadable):,} unreadable"] if self.unreadable else []
        return found

    def lines(self, name: str) -> Iterator[str]:
        """What is said of the split."""
        state = "; ".join(self.faults()) or "whole"
        yield f"{name}: {self.images:,} images of {self.classes:,} classes: {state}"
        for what, files in (
            ("missing", dict.fromkeys(self.missing, "")),
            ("unreadable", self.unreadable),
            ("damaged within", self.warnings),
        ):
            count = self.warned if files is self.warnings else len(files)
            shown = list(files.items())[:NAMED]
            for path, reason in shown:
                said = f"{path}: {reason}" if what == "damaged within" else reason or path
                yield f"  {what}: {one_line(said)}"
            if count > len(shown):
                yield f"  {what}: {count - len(shown):,} more"
        if self.unseen:
            yield f"  {self.unseen:,} of kinds of JPEG in which damage within is not seen"


def guess_dataset(folder: Path) -> str:
    """Of which dataset `folder` is a copy, by its tree; `UserError` when that is not clear."""
    inside = [name for name in OFFICIAL if (folder / DATASETS[name].folder).is_dir()]
    if (folder / "VOC2007/ImageSets").is_dir():
        raise UserError(f"{folder} holds VOC2007: check {folder / 'VOC2007'}")
    found = [
        name for name, signs in _SIGNS.items() if any((folder / sign).exists() for sign in signs)
    ]
    for split in ("train", "val"):
        if (folder / split).is_dir() and any(
            _SYNSET.fullmatch(entry.name) for entry in (folder / split).iterdir()
        ):
            found.append("imagenet")
            break
    if len(found) == 1:
        return found[0]
    if inside:
        places = ", ".join(str(folder / DATASETS[name].folder) for name in inside)
        raise UserError(f"{folder} holds folders of datasets; check each by itself: {places}")
    seems = f"it could be {' or '.join(found)}" if found else "its tree is of no layout for sure"
    raise UserError(
        f"name the dataset of {folder} with --dataset {'|'.join(OFFICIAL)}: {seems}; "
        f"images of your own are checked by a benchmark: --own NAME --data {folder} --check-images"
    )


def check_copy(
    dataset: str, folder: Path, zoo: Path, workers: int, *, again: bool
) -> dict[str, SplitReport]:
    """Look at every file of every split; `UserError` when the lists or folders cannot be read.

    What an earlier check found sound is not decoded once more, except `again`.
    """
    reports = {}
    for split, planned in fingerprints(dataset, folder).items():
        check = CheckImages(zoo, dataset, folder, split, planned, workers)
        images = load_dataset(dataset, folder).splits[split]
        if again:
            check.result.unlink(missing_ok=True)
            check.underway.unlink(missing_ok=True)
        found = _earlier(check) or check.look()
        if not found.broken:
            check.write(found)
        missing = _missing(images, check.key)
        official = OFFICIAL[dataset][split]
        reports[split] = SplitReport(
            images=len(images.paths),
            classes=len(images.classes),
            official_images=official[0],
            official_classes=official[1],
            missing=missing,
            unreadable={name: why for name, why in found.broken.items() if name not in missing},
            warned=found.warned,
            warnings=found.files,
            unseen=found.unseen,
        )
    return reports


def _earlier(check: CheckImages) -> Findings | None:
    """What a check that was finished found, in this zoo."""
    if not is_done(check.result, Checked):
        return None
    found = read(check.result, Checked)
    return Findings(
        done=found.images, warned=found.warned, files=dict(found.files), unseen=found.unseen
    )


def _missing(images: ImageSplit, name: str) -> tuple[str, ...]:
    """The files that are not there now, whatever was found before."""
    bar = progress(images.paths, desc=f"{name} files", total=len(images.paths), unit="file")
    # One of a million strings; a Path of each would take longer than the look.
    return tuple(str(path) for path in bar if not os.path.exists(f"{images.root}/{path}"))  # noqa: PTH110
