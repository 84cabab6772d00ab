"""What of a configuration only running it would tell."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.checkpoints.wording import shown


class Unread:
    """Stands for a value that only running the configuration would tell."""

    def __init__(self, what: str, was: Any = None, shares: tuple[Any, ...] = ()) -> None:
        """`was`: as far as it could be read; `shares`: what it may hold a part of."""
        self.what = what
        earlier = (was,) if isinstance(was, Unread) else ()
        self.was: Any = was.was if isinstance(was, Unread) else was
        self.shares = (*shares, *earlier)

    def __repr__(self) -> str:
        return f"<{shown(self.what, 60)}>"


def walk(value: Any) -> Iterator[Any]:
    """Every dictionary, list and leaf in `value`, itself first; what is shared comes once."""
    ahead, seen = [value], set()
    while ahead:
        item = ahead.pop()
        if isinstance(item, Mapping | list | tuple):
            if id(item) in seen:
                continue
            seen.add(id(item))
            ahead += list(item.values()) if isinstance(item, Mapping) else list(item)
        yield item
