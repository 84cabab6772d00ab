"""Where the link of a row leads, from the file that it stands in."""

import os
from pathlib import Path

from reports.tables import safe_link

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def link_target(config: str, target: Path | None) -> str | None:
    """Where the link of a config leads from the file `target` (None: from this repository).

    URLs of http(s) stay, others are no links. A file is linked relative to a `target` that lies in
    the same repository: this one, or another in which the path of the config leads to a file. A
    path that is no file there is no link, since it would be a dead one.
    """
    if safe_link(config) is None or "://" in config:
        return safe_link(config)
    if target is None:
        inside = _file_in(REPOSITORY, config)
        return None if inside is None else inside.relative_to(REPOSITORY).as_posix()
    target = target.resolve()
    for root in (REPOSITORY, *_repository_of(target), target.parent):
        inside = _file_in(root, config) if target.is_relative_to(root) else None
        if inside is not None:
            return relative_url(os.path.relpath(inside, target.parent))
    return None


def _file_in(root: Path, config: str) -> Path | None:
    """The file within `root` to which a path from there leads, if it leads to one."""
    try:
        inside = (root / config).resolve()
        return inside if inside.is_file() and inside.is_relative_to(root) else None
    except (OSError, RuntimeError):  # too long a name, a circle of links
        return None


def _repository_of(target: Path) -> list[Path]:
    """The root of the git repository that a file lies in, if it lies in one."""
    return [folder for folder in target.parents if (folder / ".git").exists()][:1]


def relative_url(path: str) -> str:
    """A relative path as a link spells it."""
    return Path(path).as_posix()
