"""A seal on what only this user's own processes may unpickle: an HMAC with a key outside any zoo.

A pickle is a program. Zoos are shared, copied and unpacked, and an unpacked file belongs to whoever
unpacks it. So the owner of a file proves nothing; only a tag by the key of this user does, which
lies in the user's state folder and never in a zoo.
"""

import hmac
import os
import secrets
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

from slurm.errors import UserError
from slurm.leftovers import temporary_beside

TAG_BYTES = 32
_KEY_BYTES = 32
_PURPOSE = b"deepcluster-bench run items 1"


def key_file() -> Path:
    """Where the key is: below $XDG_STATE_HOME, else ~/.local/state."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        home = given if given.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        raise UserError("this user has no home folder; set XDG_STATE_HOME to a folder") from None
    return home / "deepcluster-bench" / "seal.key"


def own_key() -> bytes:
    """The key of this user; made if there is none yet."""
    return _key(key_file(), make=True)


def known_key() -> bytes:
    """The key of this user; `UserError` when there is none."""
    return _key(key_file(), make=False)


def seal(key: bytes, content: bytes, *context: object) -> bytes:
    """The tag of `content` where `context` says that it stands."""
    head = repr(tuple(map(str, context))).encode("utf-8", "surrogateescape")
    return hmac.digest(key, b"%s %d %s " % (_PURPOSE, len(head), head) + content, "sha256")


def is_sealed(key: bytes, tag: bytes, content: bytes, *context: object) -> bool:
    """Whether the owner of `key` sealed `content` in this `context`."""
    return hmac.compare_digest(tag, seal(key, content, *context))


@cache
def _key(path: Path, *, make: bool) -> bytes:
    try:
        if make and not path.exists():
            _make_key(path)
        found = path.stat()
        content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
    except FileNotFoundError:
        raise UserError(
            f"the key {path} is not there, so nothing proves that what this run stored is yours. "
            "On a cluster, HOME or XDG_STATE_HOME must be a folder that all nodes see; where "
            "somebody else made the run, start its command again instead"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot use the key {path}: {error.strerror}; mend that, or set XDG_STATE_HOME to a "
            "folder of yours that all nodes see"
        ) from None
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or len(content) != _KEY_BYTES:
        raise UserError(
            f"the key {path} must be a file of {_KEY_BYTES} bytes that you alone can read (mode "
            "0600); remove it, and start the commands of unfinished runs again"
        )
    return content


def _make_key(path: Path) -> None:
    """Write a new key; of two processes that do so at once, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = temporary_beside(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
