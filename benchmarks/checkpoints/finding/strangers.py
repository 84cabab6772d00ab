"""Networks of a file that are none of its known trunks, such as a student of another family.

The one trunk that is known need not be the one that is meant then.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from benchmarks.checkpoints.finding.heads import is_of_a_judge
from benchmarks.checkpoints.finding.matching import Place, plain
from benchmarks.checkpoints.finding.searching import TOP, Trunk
from benchmarks.checkpoints.wording import shown
from slurm.errors import UserError

_FEWEST = 20  # tensors that make a network, where a head has fewer
_SHOWN = 4
_FILTERS = 8  # of a first convolution, at least


def other_networks(trunks: Iterable[Trunk], places: Iterable[Place]) -> dict[str, str]:
    """Where networks lie that are none of the trunks: plain prefix -> it and how many tensors.

    A network begins with a convolution of an image, of 3 channels or 2, before all its others.
    """
    taken = {place.address for trunk in trunks for place in trunk.tensors}
    left = [(plain(place.address), place) for place in places if place.address not in taken]
    left = [(name, place) for name, place in left if not is_of_a_judge(name)]
    counts = Counter(above for name, _ in left for above in _above(name))
    first: dict[str, str] = {}  # convolution below each prefix
    stems = []
    for name, place in left:
        if place.tensor.dim() != 4:
            continue
        for above in _above(name):
            first.setdefault(above, name)
        if place.tensor.shape[1] in (2, 3) and place.tensor.shape[0] >= _FILTERS:
            stems.append(name)
    found = {}
    for stem in stems:
        root = next((above for above in _above(stem) if counts[above] >= _FEWEST), None)
        if root is not None and first[root] == stem:
            found[root] = f"{shown(root or TOP)} ({counts[root]} tensors)"
    return found


def check_strangers(path: object, trunk: Trunk, others: Mapping[str, str]) -> None:
    """`UserError` where a file has other networks, and neither a project nor the user chose."""
    if others:
        raise UserError(
            f"{path} holds {trunk}, and what is no network that is known here in {_listed(others)}"
            ", and nothing says which is meant: if it is the known one, choose one, such as "
            f"--which {shown(trunk.address)}"
        )


def strangers_note(others: Mapping[str, str]) -> list[str]:
    """A note for networks that were left, if there are any."""
    if not others:
        return []
    return [f"not looked at, as no network that is known here: {_listed(others)}"]


def _listed(others: Mapping[str, str]) -> str:
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    return ", ".join(list(others.values())[:_SHOWN]) + more


def _above(name: str) -> Iterator[str]:
    """The prefixes of a name, the longest first, the empty one last."""
    while name:
        name = name.rpartition(".")[0]
        yield name
