"""What a scan of folders passes over: counted, said once, and noted in the records."""

from collections import Counter

Passed = Counter[str]  # what, and how many of it

BESIDE = "images beside the class folders"
HIDDEN_IMAGES = "hidden folders of images"
# Files that desktops leave in every folder; hidden ones are of no concern either.
_LEFT = {"thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r"}


def count_file(passed: Passed, name: str) -> None:
    """Count a file that is not read, unless it is known to be no image."""
    if name.startswith(".") or name.lower() in _LEFT:
        return
    stem, dot, ending = name.lower().rpartition(".")
    passed[f".{ending}"[:12] if dot and stem else "no ending"] += 1


def passed_note(where: str, passed: Passed) -> str:
    """One line: `not read in train, .. : 3 .gif, 1 .txt`."""
    listed = [f"{count:,} {what}" for what, count in sorted(passed.items(), key=_most_first)]
    more = f" and {len(listed) - 8} other kinds" if len(listed) > 8 else ""
    return (
        f"passed over in {where}, of which only files that end like an image are read, in class "
        f"folders: {', '.join(listed[:8])}{more}"
    )


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
