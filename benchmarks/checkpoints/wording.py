"""Names and texts from other people's files, made fit for a terminal: escaped and cut."""

from collections.abc import Iterable

LONGEST = 160  # characters of one name that are shown


def shown(text: object, limit: int = LONGEST) -> str:
    """`text` with all that is not printable escaped, cut to `limit` characters."""
    start = str(text)[: limit + 1]
    safe = "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in start
    )
    return safe if len(safe) <= limit else f"{safe[:limit]}..."


def listed(names: Iterable[object], limit: int = 4) -> str:
    """The number of names and the first few of them."""
    every = list(names)
    more = f", .. {len(every) - limit} more" if len(every) > limit else ""
    return f"{len(every)} ({', '.join(map(shown, every[:limit]))}{more})"
