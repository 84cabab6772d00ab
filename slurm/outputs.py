"""Writing where a user says: --json, --html, a README.

The user's file stays what it is. A regular file is replaced whole, through symbolic links and with
its mode kept; a device, a FIFO and a descriptor such as `>(jq .)` or /dev/stdout are written to.
"""

import fcntl
import os
import re
import stat
import sys
from pathlib import Path

from slurm.errors import UserError
from slurm.files import atomic_path
from slurm.streams import write_stdout

_MOST_LINKS = 40  # as Linux follows
_DESCRIPTORS = r"/proc/(\d+|self|thread-self)(?:/task/\d+)?/fd"


def check_output(path: Path) -> None:
    """`UserError` unless it can be written, as far as that can be known before the work."""
    if not str(path):
        raise UserError("an output file needs a name")
    target = _target(path)
    number = _descriptor(target)
    if number is not None:
        try:
            mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
        except OSError:
            raise UserError(f"{path}: this process has no open file {number}") from None
        if mode == os.O_RDONLY:
            raise UserError(f"{path} is open for reading only")
        return
    found = _stat(target)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise UserError(f"{path} is a folder; name a file in it")
    if found is not None and stat.S_ISSOCK(found.st_mode):
        raise UserError(f"{path} is a socket; name a file")
    if found is not None:
        if not os.access(target, os.W_OK):
            raise UserError(f"{path} cannot be written by you")
        return
    folder = next(parent for parent in target.parents if _stat(parent) is not None)
    if not (folder.is_dir() and os.access(folder, os.W_OK) and _takes_files(folder)):
        raise UserError(f"{path}: {folder} is no folder that you can write in")


def _takes_files(folder: Path) -> bool:
    """Whether a file can be made there, by making one without a name: /proc says it can."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def write_json(where: str, content: bytes) -> None:
    """Write what `--json` asks for: to standard output, which - is, or to a file."""
    if where == "-":
        write_stdout(content)
    else:
        write_output(Path(where), content)


def write_output(path: Path, content: bytes) -> None:
    """Write `content` to the file, device, FIFO or descriptor that `path` names."""
    check_output(path)
    target = _target(path)
    try:
        number, found = _descriptor(target), _stat(target)
        if number is not None:
            if number == 1:
                sys.stdout.flush()
            _write_all(os.dup(number), content)
        elif found is None:
            _replace(target, content, None)
        elif not stat.S_ISREG(found.st_mode):
            _write_all(os.open(target, os.O_WRONLY | os.O_NOCTTY), content)
        elif os.access(target.parent, os.W_OK):
            _replace(target, content, found)
        else:  # a file of the user's in a folder of somebody else
            _write_all(os.open(target, os.O_WRONLY | os.O_TRUNC), content)
    except BrokenPipeError:
        raise UserError(f"cannot write to {path}: whoever read it has ended") from None
    except OSError as error:
        error.filename = str(path)
        raise


def _replace(target: Path, content: bytes, old: os.stat_result | None) -> None:
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
        if old is not None:
            temporary.chmod(stat.S_IMODE(old.st_mode))


def _write_all(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _target(path: Path) -> Path:
    """`path` with its links followed, but not those of descriptors, whose target is no path."""
    target = path.absolute()
    for _ in range(_MOST_LINKS):
        target = Path(os.path.realpath(target.parent)) / target.name
        if not target.is_symlink() or re.fullmatch(_DESCRIPTORS, str(target.parent)):
            return target
        target = target.parent / target.readlink()
    raise UserError(f"{path} is a circle of symbolic links")


def _descriptor(target: Path) -> int | None:
    """The number of the descriptor of this process that `target` is, if it is one."""
    found = re.fullmatch(_DESCRIPTORS, str(target.parent))
    if found is None or not target.name.isdecimal():
        return None
    return int(target.name) if found.group(1) in ("self", str(os.getpid())) else None


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
