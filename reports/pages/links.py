"""Where the link of a row leads, from the file that it stands in."""

import os
from pathlib import Path

from reports.tables import safe_link

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def link_target(config: str, target: Path | None) -> str | None:
    """Where the link of a config leads from the file `target` (None: from the repository).

    URLs of http(s) stay, others are no links. A file of this repository is linked relative to a
    `target` that lies in it too; from elsewhere nothing leads to it. A path that is no file there
    is no link.
    """
    if safe_link(config) is None or "://" in config:
        return safe_link(config)
    try:
        inside = (REPOSITORY / config).resolve()
        if not inside.is_file() or not inside.is_relative_to(REPOSITORY):
            return None
    except (OSError, RuntimeError):  # too long a name, a circle of links
        return None
    if target is None:
        return inside.relative_to(REPOSITORY).as_posix()
    if not target.resolve().is_relative_to(REPOSITORY):
        return None
    return relative_url(os.path.relpath(inside, target.resolve().parent))


def relative_url(path: str) -> str:
    """A relative path as a link spells it."""
    return Path(path).as_posix()
