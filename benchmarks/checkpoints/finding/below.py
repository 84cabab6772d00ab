"""`--prefix`: the trunk that begins exactly where the user says."""

from benchmarks.checkpoints.finding.matching import Place, dotted, plain
from benchmarks.checkpoints.finding.searching import Trunk
from benchmarks.checkpoints.wording import listed, shown
from slurm.errors import UserError


def places_below(path: object, places: list[Place], prefix: str) -> dict[str, list[Place]]:
    """The tensors whose names start with `prefix`, by the dotted address of what that is.

    A name is taken with the keys that lead to it, alone, or without wrappers. `UserError` when no
    tensor's name starts so.
    """
    found: dict[str, list[Place]] = {}
    for place in places:
        name = place.address[len(place.container) + 1 if place.container else 0 :]
        for text in (place.address, plain(place.address), name, plain(name)):
            if text.startswith(prefix):
                inner = dotted(text[len(prefix) :].lstrip("."))
                root = dotted(place.address).removesuffix(inner)
                found.setdefault(root, []).append(place)
                break
    if not found:
        names = listed([place.address for place in places])
        raise UserError(
            f"--prefix {shown(prefix)}: {path} has no tensor whose name starts so (its tensors: "
            f"{names})"
        )
    return found


def trunks_at(path: object, trunks: list[Trunk], roots: set[str], prefix: str) -> list[Trunk]:
    """Those of `trunks` that begin at one of the `roots`; `UserError` when none does."""
    there = [trunk for trunk in trunks if trunk.prefix in roots]
    if trunks and not there:
        raise UserError(
            f"--prefix {shown(prefix)}: no trunk of {path} begins there, only below it: "
            f"{listed(trunks, 8)}"
        )
    return there


def prefix_note(trunk: Trunk, everywhere: list[Trunk], prefix: str) -> str:
    """What the card says of a trunk that was taken from below `prefix`."""
    others = [other for other in everywhere if other.address != trunk.address]
    also = f"; the file also holds {listed(others, 8)}" if others else ""
    return f"taken from below --prefix {shown(prefix)}{also}"
