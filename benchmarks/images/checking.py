"""`--check-images`: every image of a split decoded once, before anything is measured on it.

A JPEG file that is damaged within still decodes: PIL says nothing of what libjpeg made up, while
simplejpeg hands on what the same library warns of. Damage that leaves the stream of codes legal is
seen by no decoder. PNG files hold checksums, which PIL does not compare when it decodes; here they
are compared.
"""

import io
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from benchmarks import results
from benchmarks.datasets.loading import entry_name, load_dataset
from benchmarks.results import Split, key_of
from slurm.errors import UserError
from slurm.files import write_bytes
from slurm.progress import progress
from slurm.sweep import Item, Resources

if TYPE_CHECKING:
    from benchmarks.datasets.splits import ImageSplit

UNSEEN = "not seen"  # the warning of a kind of JPEG that only PIL decodes
KEPT = 20  # files that are named; all are counted
TOGETHER = 64  # images between two reports of progress
SAVE_SECONDS = 10.0  # between two saves of what was found so far


class Checked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was found in one split."""

    images: int
    warned: int  # images of which libjpeg warned
    files: dict[str, str]  # the first of them, and the first warning of each
    unseen: int = 0  # images of which it cannot say anything


class Findings(msgspec.Struct, forbid_unknown_fields=True):
    """What was found so far in one split."""

    done: int = 0  # images, from the first of the list on
    broken: dict[str, str] = {}  # all that cannot be decoded, and why
    warned: int = 0
    files: dict[str, str] = {}
    unseen: int = 0

    def enter(self, name: str, error: str, warning: str) -> None:
        """Enter what is wrong with an image, which may have been broken before."""
        self.broken.pop(name, None)
        if error:
            self.broken[name] = error
        elif warning == UNSEEN:
            self.unseen += 1
        elif warning:
            self.warned += 1
            if len(self.files) < KEPT:
                self.files[name] = warning


@dataclass(frozen=True)
class CheckImages:
    """Decode every image of one split, once a zoo."""

    zoo: Path
    dataset: str  # as protocols name it
    data: Path
    split: str
    planned: Split
    workers: int = 0

    stage: ClassVar[str] = "check"
    needs: ClassVar[tuple[Item, ...]] = ()
    resources: ClassVar[Resources] = Resources(minutes=720)

    @property
    def result(self) -> Path:
        """What was found."""
        return checked_path(self.zoo, self.dataset, self.split, self.planned)

    @property
    def key(self) -> str:
        """Name of the item."""
        return f"checks/{self.result.stem}"

    def done(self) -> bool:
        """Whether the result is there and valid."""
        return results.is_done(self.result, Checked)

    def images(self) -> "ImageSplit":
        """The split, read now."""
        return load_dataset(self.dataset, self.data).splits[self.split]

    def run(self) -> None:
        """Decode all; `UserError` naming the first images that cannot be decoded at all."""
        found = self.look()
        if found.broken:
            raise UserError(
                f"{len(found.broken)} of {self.planned.images} images of {self.split} cannot be "
                f"used: {'; '.join(list(found.broken.values())[:3])}"
            )
        self.write(found)

    def look(self) -> "Findings":
        """Decode all that no earlier look found sound; what is found is kept as it goes."""
        images = self.images()
        images.require(self.planned)
        found = self._begun()
        again, fresh = list(found.broken), images.paths[found.done :]
        total = len(again) + len(fresh)
        # As it was after a whole group: part of one would be entered once more.
        kept, saved = results.encode(found), time.monotonic()
        with progress(desc=self.key, total=total, unit="img") as bar:
            try:
                for names in (again, fresh):
                    for first, group in _decode_all(images.root, names, self.workers):
                        for name, (error, warning) in zip(names[first:], group):
                            found.enter(name, error, warning)
                        found.done += len(group) if names is fresh else 0
                        kept = results.encode(found)
                        bar.update(len(group))
                        if time.monotonic() - saved > SAVE_SECONDS:
                            write_bytes(self.underway, kept)
                            saved = time.monotonic()
            finally:
                write_bytes(self.underway, kept)
        return found

    def write(self, found: "Findings") -> None:
        """Leave the result of a look that found nothing broken."""
        results.write(self.result, Checked(found.done, found.warned, found.files, found.unseen))
        self.underway.unlink(missing_ok=True)

    @property
    def underway(self) -> Path:
        """What was found so far, for a check that was killed or found something broken."""
        return self.result.with_suffix(".partial.json")

    def _begun(self) -> "Findings":
        if not self.underway.exists() or not results.is_done(self.underway, Findings):
            return Findings()
        return results.read(self.underway, Findings)


def checked_path(zoo: Path, dataset: str, split: str, planned: Split) -> Path:
    """Where the findings on a split lie."""
    return zoo / "checks" / f"{entry_name(dataset)}-{split}-{key_of(planned)}.json"


def check_items(
    zoo: Path, dataset: str, data: Path, splits: dict[str, Split], workers: int
) -> tuple[CheckImages, ...]:
    """The check of each split of a dataset."""
    return tuple(
        CheckImages(zoo, dataset, data, split, planned, workers)
        for split, planned in splits.items()
    )


def check_notes(zoo: Path, dataset: str, splits: dict[str, Split]) -> tuple[str, ...]:
    """What a record must say of its images, when they were ever checked in this zoo."""
    notes = []
    for split, planned in splits.items():
        path = checked_path(zoo, dataset, split, planned)
        if not results.is_done(path, Checked):
            continue
        found = results.read(path, Checked)
        if found.unseen:
            notes.append(
                f"{found.unseen} of {found.images} images of {split} are of kinds of JPEG in which "
                "damage within is not seen"
            )
        if found.warned:
            name, warning = next(iter(found.files.items()))
            notes.append(
                f"{found.warned} of {found.images} images of {split} may be damaged within; the "
                f"first: {name}: {warning}"
            )
    return tuple(notes)


def jpeg_warning(content: bytes) -> str:
    """The first thing that libjpeg says of a JPEG file; empty for a sound one or no JPEG.

    `UNSEEN` for kinds that simplejpeg refuses, such as of a rare sampling.
    """
    if not content.startswith(b"\xff\xd8"):
        return ""
    try:
        _decode_jpeg(content, strict=True)
    except (ValueError, KeyError) as error:  # the latter of a sampling that has no name there
        return " ".join(str(error).split())[:200] if _only_warned(content) else UNSEEN
    return ""


def _only_warned(content: bytes) -> bool:
    """Whether simplejpeg can decode a file of which it said something."""
    from simplejpeg import decode_jpeg_header

    try:
        decode_jpeg_header(content, strict=False)
    except (ValueError, KeyError):
        return False
    try:
        decode_jpeg_header(content)
    except ValueError:
        return True  # a warning, since the header can be read
    try:
        _decode_jpeg(content, strict=False)
    except ValueError:
        return False
    return True


def _decode_jpeg(content: bytes, *, strict: bool) -> None:
    """`ValueError` for what it refuses and, if `strict`, warns of."""
    from simplejpeg import decode_jpeg, decode_jpeg_header

    colours = decode_jpeg_header(content)[2]
    # What is printed has four colours, of which no three could be made.
    decode_jpeg(content, "CMYK" if colours in ("CMYK", "YCCK") else "RGB", strict=strict)


def png_warning(content: bytes) -> str:
    """The first chunk of a PNG file whose checksum is another; empty for a sound or other file."""
    start = 8
    if content[:start] != b"\x89PNG\r\n\x1a\n":
        return ""
    while start + 12 <= len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        chunk = content[start + 4 : start + 8 + length]
        given = content[start + 8 + length : start + 12 + length]
        if zlib.crc32(chunk) != int.from_bytes(given, "big"):
            return f"the checksum of a PNG chunk {chunk[:4]!r} does not fit"
        if chunk[:4] == b"IEND":
            return ""
        start += 12 + length
    return "the end of the PNG file is missing"


def check_file(path: str) -> tuple[str, str]:
    """What is wrong with an image: why it cannot be decoded, and what libjpeg warns of."""
    from benchmarks.images.decoding import decode_image
    from benchmarks.input_files import read_file

    try:
        content = read_file(Path(path), "complete the images or correct the list")
        decode_image(io.BytesIO(content), Path(path))
    except UserError as error:
        return str(error), ""
    return "", jpeg_warning(content) or png_warning(content)


@dataclass(frozen=True)
class _Files:
    """The files of a split, checked some at a time; a data set in torch's sense."""

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return -(-len(self.names) // TOGETHER)

    def __getitem__(self, number: int) -> list[tuple[str, str]]:
        start = number * TOGETHER
        return [check_file(f"{self.root}/{x}") for x in self.names[start : start + TOGETHER]]


def _decode_all(
    root: Path, names: Sequence[str], workers: int
) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """The first row and the findings of each group of images, in order."""
    from torch.utils.data import DataLoader

    files: Any = _Files(root, names)
    if not names:
        return
    loader = DataLoader(
        files, batch_size=None, num_workers=min(workers, len(files)), collate_fn=_unchanged
    )
    for number, found in enumerate(loader):
        yield number * TOGETHER, found


def _unchanged(batch: Any) -> Any:
    return batch
