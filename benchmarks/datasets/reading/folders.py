"""Folders of images: what in them is an image, what is a class, and what neither.

File servers, desktops and notebooks leave folders of their own among the classes, and files of
their own among the images; links can lead in circles. Every folder is read once, by device and
inode, and one that might be a class is never passed over without a word.
"""

import heapq
import os
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.input_files import is_folder, is_there, reading_error
from slurm.distributed import find_world
from slurm.errors import UserError

# What torchvision's and MMSelfSup's folder readers take for an image.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

_NO_CLASSES = """
@eadir @tmp @sharebin #recycle #snapshot @recycle @recently-snapshot @__thumb @transcode ~snapshot
__macosx thevolumesettingsfolder $recycle.bin lost+found __pycache__ .ipynb_checkpoints
"""
# Folders of Synology, QNAP, NetApp, macOS, Windows, Linux, Python and Jupyter, in lower case.
NO_CLASSES = {
    *_NO_CLASSES.split(),
    *("network trash folder", "temporary items", "system volume information"),
}
_HIDDEN = """
._ .@ .apple .bzr .cache .comments .directory .documentrevisions .dropbox .ds_store .dvc .fseventsd
.git .hg .idea .ipynb_checkpoints .nfs .picasa .snapshot .spotlight .stfolder .stversions .svn
.sync .temporaryitems .thumb .trash .vscode .xvpics .zfs
"""
# How hidden ones begin that everybody knows; of others it is said when they hold images.
HIDDEN = tuple(_HIDDEN.split())

Passed = Counter[str]  # what a scan passed over, and how many of it

BESIDE = "images beside the class folders"
HIDDEN_IMAGES = "hidden folders of images"
# Files that desktops leave in every folder; hidden ones are of no concern either.
_LEFT = {"thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r"}
Identity = tuple[int, int]  # device and inode
Owners = dict[Identity, str]  # to which class folder a folder belongs; "" for those above the root


def require_directory(folder: Path, remedy: str) -> None:
    """Raise `UserError` with the remedy unless `folder` is a directory."""
    if not is_folder(folder):
        state = "is not a directory" if is_there(folder) else "does not exist"
        raise UserError(f"{folder} {state}; {remedy}")


def is_foreign(name: str) -> bool:
    """Whether a folder or file of this name is known to be neither a class nor an image."""
    return name.lower() in NO_CLASSES or name.startswith("._")


def class_folders(root: Path, passed: Passed) -> list[str]:
    """The names of the class folders in `root`, sorted; `UserError` for a link that leads nowhere.

    Hidden and foreign folders are passed over, with a note unless nobody can take them for classes;
    they and images in `root` itself are counted in `passed`.
    """
    names, hidden = [], []
    for entry in _entries(str(root)):
        if not _is_folder(entry):
            if entry.is_symlink() and not _may_be_image(entry.name) and not Path(entry).exists():
                raise UserError(
                    f"{entry.path} is a link that leads nowhere; a class folder may be missing: "
                    "mend or remove the link"
                )
            passed[BESIDE] += _may_be_image(entry.name)
        elif entry.name.startswith(".") or is_foreign(entry.name):
            hidden.append(entry.path)
        else:
            names.append(entry.name)
    odd = sorted(name for name in names if name[0] in "@#$~")
    if odd:
        say_note(
            f"{root}: {', '.join(odd[:5])} taken for class folders; remove them if they are none"
        )
    _say_hidden(hidden, passed)
    return sorted(names)


def owners_above(root: Path) -> Owners:
    """`root` and the folders above it, to which no link from below is followed."""
    resolved = root.resolve()
    return {_identity(str(folder)): "" for folder in (resolved, *resolved.parents)}


def claim_classes(root: Path, names: Sequence[str], owners: Owners) -> None:
    """Enter the class folders into `owners`; `UserError` when two of them are the same folder."""
    for name in names:
        path = f"{root}/{name}"
        other = owners.setdefault(_identity(path), path)
        if other != path:
            raise UserError(
                f"{path} and {other or 'a folder above it'} are the same folder: remove one, since "
                "its images would be read twice"
            )


def require_distinct(
    train_root: Path, train: Sequence[str], val_root: Path, val: Sequence[str]
) -> None:
    """`UserError` when a folder of images of one split is one of the other, such as by a link."""
    owners: Owners = {}
    for root, paths in ((train_root, train), (val_root, val)):
        folders = {path.rpartition("/")[0] for path in paths}
        here = {f"{root}/{name}".rstrip("/") for name in folders}
        found = {_identity(place): place for place in sorted(here) if is_folder(Path(place))}
        for identity in sorted(found.keys() & owners.keys())[:1]:
            raise UserError(
                f"{found[identity]} and {owners[identity]} are the same folder: no image may be "
                "trained on and tested"
            )
        owners |= found


def images_below(
    root: Path,
    top: str,
    owners: Owners,
    passed: Passed | None = None,
    inodes: "array[int] | None" = None,
) -> list[str]:
    """Images at any depth below `top`, relative to `root`: by folder, then by name, each sorted.

    Links to folders are followed after all real folders, and no folder is read twice. What is
    passed over is counted in `passed`; to `inodes` that of each image is added, of a link that of
    the file it leads to. Raises `UserError` for a folder that `owners` gives to another class.
    """
    passed = Passed() if passed is None else passed
    found, hidden = [], []
    real, links = [top], list[str]()
    while real or links:
        directory = real.pop() if real else heapq.heappop(links)
        if directory != top:
            identity = _identity(directory)
            if identity in owners:
                if owners[identity] in ("", top):
                    continue
                raise UserError(
                    f"{directory} is a folder of {owners[identity]} too: its images would be read "
                    "twice, once under each; remove the link"
                )
            owners[identity] = top
        names = []
        for entry in _entries(directory):
            if _is_folder(entry):
                if entry.name.startswith(".") or is_foreign(entry.name):
                    hidden.append(entry.path)
                elif entry.is_symlink():
                    heapq.heappush(links, entry.path)
                else:
                    real.append(entry.path)
            elif _may_be_image(entry.name):
                names.append((entry.name, _inode(entry)))
            else:
                _count_file(passed, entry.name)
        found.append((directory, sorted(names)))
    _say_hidden(hidden, passed)
    skip = len(str(root)) + 1
    images = []
    for directory, names in sorted(found):
        prefix = directory[skip:].replace(os.sep, "/")
        images += [f"{prefix}/{name}" if prefix else name for name, _ in names]
        if inodes is not None:
            inodes.extend(inode for _, inode in names)
    return images


def _count_file(passed: Passed, name: str) -> None:
    """Count a file that is not read, unless it is known to be no image."""
    if name.startswith(".") or name.lower() in _LEFT:
        return
    stem, dot, ending = name.lower().rpartition(".")
    passed[f".{ending}"[:12] if dot and stem else "no ending"] += 1


def passed_note(where: str, passed: Passed) -> str:
    """One line: `passed over in train, ..: 3 .gif, 1 .txt`."""
    return (
        f"passed over in {where}, of which only files that end like an image are read, in class "
        f"folders: {_listed(passed)}"
    )


def but_holds(passed: Passed) -> str:
    """What else there is in a folder without an image, for an error."""
    return f" but {_listed(passed)}" if passed else ""


def _listed(passed: Passed) -> str:
    listed = [f"{count:,} {what}" for what, count in sorted(passed.items(), key=_most_first)]
    more = f" and {len(listed) - 8} other kinds" if len(listed) > 8 else ""
    return f"{', '.join(listed[:8])}{more}"


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _may_be_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and name[0] != "."


def holds_images(folder: str) -> bool:
    """Whether there is an image in `folder` or below it."""
    return any(map(_may_be_image, (name for _, _, files in os.walk(folder) for name in files)))


def _say_hidden(folders: list[str], passed: Passed) -> None:
    """Count and name hidden folders that hold images and are not known to be no classes."""
    unknown = [path for path in folders if not _is_known(path.rpartition("/")[2])]
    holding = sorted(path for path in unknown if holds_images(path))
    if holding:
        passed[HIDDEN_IMAGES] += len(holding)
        more = f" and {len(holding) - 3} more" if len(holding) > 3 else ""
        say_note(
            f"hidden folders are passed over, though they hold images: {', '.join(holding[:3])}"
            f"{more}; rename them if they should be read"
        )


def _is_known(name: str) -> bool:
    return is_foreign(name) or name.lower().startswith(HIDDEN)


def say_note(note: str) -> None:
    """One line on stderr, by the first of the processes that share the work."""
    if find_world().first:
        print(f"note: {note}", file=sys.stderr)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError as error:
        raise reading_error(Path(directory), error, "all of it must be readable") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _inode(entry: os.DirEntry[str]) -> int:
    """Of the file itself; 0 for a link that leads nowhere. Nothing more is asked of the disk."""
    try:
        return entry.stat().st_ino if entry.is_symlink() else entry.inode()
    except OSError:
        return 0


def _identity(directory: str) -> Identity:
    try:
        found = os.stat(directory)  # noqa: PTH116 - one of a thousand strings
    except OSError as error:
        raise reading_error(Path(directory), error, "all of it must be readable") from None
    return found.st_dev, found.st_ino
