"""The result record: what a benchmark found, with everything needed to find it again.

Plain JSON, written atomically, read with full validation; this module needs no torch. Percent
values are in 0..100 at full float precision. What only a run needs is imported in its place, since
every --help reads this file.
"""

import hashlib
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from benchmarks.protocols import LATER, without_later
from slurm.errors import UserError
from slurm.files import read_regular, refuse_pointer, write_bytes

SCHEMA = 1
PACKAGES = (
    *("torch", "torchvision", "timm", "pillow", "simplejpeg"),
    *("numpy", "scikit-learn", "faiss", "liblinear-official"),
)
HALF = "half-precision forward"  # the note of a record by --precision amp


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose features were measured."""

    name: str
    arch: str | None  # None for feature files whose network is unknown
    weights: str  # fingerprint: blake2b of the tensors, or of the feature files
    sobel: bool = False
    config: str | None = None  # recipe file or URL, the link of the table's first column
    # Of the pixels, RGB in 0..1; None for feature files and in records of earlier versions.
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fingerprint of one split of a dataset."""

    images: int
    classes: int
    sha256: str  # of the list of relative paths and labels
    sizes: str = ""  # hash of some of the files' sizes (datasets.splits): of images of equal names


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From what a record was made, so that it can be made again, and what that took."""

    ckpt: str | None  # as --ckpt named it; None for features on disk
    data: str  # folder of the dataset or of the features, as it was given
    labels: str | None = None  # folder of the labels of features on disk
    device: str | None = None  # name of the GPU, or CPU
    processes: int = 1  # with a device each
    beside: int = 1  # probes that read one stream of images, and shared its seconds
    extraction: dict[str, float] | None = None  # seconds by device; other records may share them
    # Of these, what this trunk bears of a pass of several; None where it was alone.
    extraction_share: dict[str, float] | None = None
    gpu_bytes: int | None = None  # the most that torch had reserved
    host_bytes: int | None = None  # the most of the process since it started


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every result record holds beside its figures."""

    benchmark: str  # a key of catalog.listed.BENCHMARKS
    protocol: str  # the protocol's name, as the tables print it
    protocol_version: int
    variant: str  # mmselfsup, vissl, fair or digits; columns never mix variants
    settings: dict[str, Any]  # every field of the protocol that was used
    checkpoint: Checkpoint
    data: dict[str, Split]  # by split name: train, val, trainval, test
    seed: int
    device: str
    threads: int
    versions: dict[str, str]
    commit: str | None
    host: str
    started: str  # ISO 8601, UTC
    seconds: float
    notes: tuple[str, ...] = ()  # fallbacks and everything a reader must know
    outcomes: str | None = None  # fingerprint of the file beside it; see benchmarks.outcomes
    schema: int = SCHEMA
    precision: str | None = None  # of the forward pass: fp32, tf32 or amp; None where unknown
    made: Made | None = None  # None in records of earlier builds


class SvmLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """VOC07 linear SVM on one layer; percent."""

    map: float
    ap: tuple[float, ...]  # (classes,) test AP at the chosen cost
    cost: tuple[float, ...]  # (classes,) chosen cost
    cv_ap: tuple[tuple[float, ...], ...]  # (classes, costs) mean AP over the folds
    convergence: dict[str, Any] = {}  # solver state; see benchmarks.svm.evaluation


class VocSvmRecord(Record, frozen=True, kw_only=True):
    """Result of `voc07_svm`."""

    classes: tuple[str, ...]
    layers: dict[str, SvmLayer]
    best_layer: str


class Shot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Low-shot mAP over the draws at the cost with the best mean; percent."""

    mean: float
    min: float
    max: float
    std: float  # population standard deviation over the draws
    cost: float
    by_cost: dict[str, tuple[float, ...]]  # repr(cost) -> (draws,) test mAP
    convergence: dict[str, Any] = {}


class LowShotLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Low-shot results of one layer, by k as text."""

    shots: dict[str, Shot]


class LowShotRecord(Record, frozen=True, kw_only=True):
    """Result of `voc07_low_shot_svm`."""

    layers: dict[str, LowShotLayer]
    selection: str  # "test": the cost is chosen by test mAP, as in all published figures


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One linear probe; percent, of the last epoch unless named best."""

    top1: float
    top5: float
    best_top1: float
    best_epoch: int  # from 1
    top1_by_epoch: tuple[float, ...]  # of the evaluated epochs
    best_top5: float | None = None  # of the epoch with the best top-1; None in older records


class GridPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The heads of a probe at another learning rate and weight decay, all else being equal."""

    learning_rate: float
    weight_decay: float
    heads: dict[str, Head]  # those that did not diverge
    diverged: dict[str, int] = {}  # tap -> epoch after which its weights were no finite numbers


class ProbeRecord(Record, frozen=True, kw_only=True):
    """Result of a linear probe."""

    heads: dict[str, Head]  # feature1..feature5, or avgpool
    epochs: int
    evaluated: tuple[int, ...] = ()  # the epochs of top1_by_epoch, from 1; empty: every one
    grid: tuple[GridPoint, ...] = ()  # with the protocol's own point; empty where none was asked


R = TypeVar("R", bound=msgspec.Struct)


class RecordKind(msgspec.Struct):
    """What tells of which type a record is; see `catalog.records`."""

    benchmark: str
    schema: int


def encode(struct: msgspec.Struct) -> bytes:
    """Indented JSON that ends in a newline; `ValidationError` for what could not be read back.

    NaN and infinity are such values: JSON has none, and a figure that is not a number is no result.
    """
    content = msgspec.json.encode(struct)
    msgspec.json.decode(content, type=type(struct))
    return encode_plain(msgspec.Raw(content))


def encode_plain(content: object) -> bytes:
    """Indented JSON that ends in a newline."""
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def write(path: Path, struct: msgspec.Struct) -> None:
    """Atomically write a record (or any struct) as JSON."""
    write_bytes(path, encode(struct))


def read(path: Path, kind: type[R]) -> R:
    """Read and validate JSON of a known type; `UserError` names the file and what is wrong."""
    try:
        content = read_regular(path)
        refuse_pointer(path, content)
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        name = "result record" if kind is RecordKind else kind.__name__
        raise UserError(f"{path} is not a valid {name}: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def is_done(path: Path, kind: type[msgspec.Struct]) -> bool:
    """Whether a valid `kind` lies at `path`, as `read_done`."""
    return read_done(path, kind) is not None


def read_done(path: Path | str, kind: type[R]) -> R | None:
    """The valid `kind` that lies at `path`; what lies there and is none is said, and not used.

    Raises `UserError` for a record of another schema, or one that Git LFS has yet to fetch, which
    would be lost if it were replaced.
    """
    try:
        content = read_regular(path)
    except OSError:
        return None
    try:
        found = msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        refuse_pointer(path, content)
        _say_invalid(path, str(error))
        return None
    schema = getattr(found, "schema", SCHEMA)
    if schema != SCHEMA:
        raise UserError(
            f"{path} has schema {schema}, this version writes {SCHEMA}: move it away, or take "
            "another --zoo"
        )
    return found


@lru_cache(maxsize=10_000)
def _say_invalid(path: Path | str, reason: str) -> None:
    """Once a file: whether an item is done is asked more than once."""
    from slurm.progress import say

    say(f"{path} is damaged ({reason}): it is computed again")


def versions() -> dict[str, str]:
    """Versions of Python, of this project and of the packages that a figure depends on."""
    import importlib.metadata
    import platform

    found = {"python": platform.python_version()}
    for package in ("deepcluster-bench", *PACKAGES):
        names = ("faiss-gpu", "faiss-cpu") if package == "faiss" else (package,)
        for name in names:
            try:
                found[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def commit() -> str | None:
    """The git commit of this source tree (with `+dirty`), or None outside a checkout."""
    import subprocess

    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+dirty"]
        done = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def environment() -> dict[str, Any]:
    """The fields of a record that describe the machine: versions, commit, host."""
    import platform

    return {"versions": versions(), "commit": commit(), "host": platform.node() or sys.platform}


def key_of(*parts: object) -> str:
    """A short stable key of what a result depends on; dataclasses and structs are spelled out.

    A protocol's later fields are left out while they have the values that stand for them in older
    records, so that what was measured before they came is not measured again.
    """
    found = [spelled(part) if isinstance(part, tuple(LATER)) else part for part in parts]
    content = msgspec.json.encode(found, order="deterministic")
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def spelled(part: object) -> msgspec.Raw:
    """What stands in a key for `part`, which then need not be spelled out for each of many."""
    if isinstance(part, tuple(LATER)):  # in the order of its fields
        return msgspec.Raw(msgspec.json.encode(without_later(part)))
    return msgspec.Raw(msgspec.json.encode(part, order="deterministic"))
