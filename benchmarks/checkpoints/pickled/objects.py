"""The objects of a pickle before they exist: what holds what, how deep and how large that is."""

from collections.abc import Iterable
from dataclasses import dataclass, field

# Far more than any training framework writes beside its weights.
MOST_NESTED = 100  # objects within objects
MOST_SHARED = 20_000_000  # objects, those that stand at several places counted at each of them


class Refused(ValueError):
    """Why a file is not given to the unpickler, for the user to read."""


@dataclass(slots=True, eq=False)
class Object:
    """What is known of an object before it exists."""

    parts: "list[Object]" = field(default_factory=list)
    name: str | None = None  # of a class or function
    made_by: str | None = None  # the class or function that a stand-in replaces
    text: str | None = None  # of a string


def check_limits(wholes: Iterable[Object]) -> None:
    """Raise `Refused` when objects nest too deep, in a circle, or multiply by being shared."""
    sizes: dict[int, tuple[int, int]] = {}  # id of an object -> how deep and how large it is
    total = sum(_measure(whole, sizes)[1] for whole in wholes)
    if total > MOST_SHARED:
        raise Refused(f"its pickle unfolds to more than {MOST_SHARED} objects")


def _measure(whole: Object, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Depth and size of an object; a size past the limit is not counted to its end."""
    if id(whole) in known:
        return known[id(whole)]
    path: list[tuple[Object, int]] = [(whole, 0)]  # from the whole to where we are
    open_objects = {id(whole)}
    while path:
        current, reached = path[-1]
        while reached < len(current.parts) and id(current.parts[reached]) in known:
            reached += 1
        if reached < len(current.parts):
            part = current.parts[reached]
            if id(part) in open_objects:
                raise Refused("its pickle holds an object that contains itself")
            path[-1] = (current, reached + 1)
            path.append((part, 0))
            open_objects.add(id(part))
            if len(path) > MOST_NESTED:
                raise Refused(f"its pickle nests more than {MOST_NESTED} objects in each other")
            continue
        measured = [known[id(part)] for part in current.parts]
        depth = 1 + max((depth for depth, _ in measured), default=0)
        size = 1 + sum(size for _, size in measured)
        known[id(current)] = (depth, min(size, MOST_SHARED + 1))
        open_objects.discard(id(current))
        path.pop()
    depth, size = known[id(whole)]
    if depth > MOST_NESTED:
        raise Refused(f"its pickle nests more than {MOST_NESTED} objects in each other")
    return depth, size
