"""What a run continues from: plain tensors and numbers, replaced atomically.

`zoo/state/NAME/deepcluster.pt`. Nothing in it is a random generator's state: every draw is keyed
by the seed and the position (epoch, step), which is all that has to be remembered.
"""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from torch import Tensor

from benchmarks.checkpoints.files import read_file
from benchmarks.whole_files import write_tensors
from pretrain.deepcluster.identity import differences
from slurm.errors import UserError

FORMAT = 2


class State(TypedDict):
    """Position, network, optimiser and clustering of a run."""

    format: int
    identity: str  # of the recipe, the seed and the images; see identity_of
    restart: NotRequired[str]  # the restart that it is of
    epoch: int  # finished epochs
    step: int  # finished steps of the epoch after them
    loss: Tensor  # () float64, sum over these steps
    seconds: float  # of this epoch, so far
    net: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]  # of half precision; empty without
    labels: Tensor | None  # (N,) int32, the last clustering
    clustered_at: int  # the epoch it was made for; -1 before the first
    figures: dict[str, Any]  # of that clustering
    history: dict[str, list[Any]]  # name -> one plain number (or None) per finished epoch


# What each of these is in a file; the tensors in them are checked where they are loaded.
_KINDS: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "identity": (str,),
    "epoch": (int,),
    "step": (int,),
    "loss": (Tensor,),
    "seconds": (float, int),
    "net": (dict,),
    "optimizer": (dict,),
    "scaler": (dict,),
    "labels": (Tensor, type(None)),
    "clustered_at": (int,),
    "figures": (dict,),
    "history": (dict,),
}


def save_state(path: Path, state: State) -> None:
    """Replace the state file."""
    write_tensors(path, dict(state))


def load_state(path: Path, identity: str, restart: str = "") -> State | None:
    """The state to continue from, or None when there is none.

    A `restart` takes up its own state alone: any other stays there until it is replaced. Without
    one raises `UserError` when the file is damaged or belongs to another recipe, seed or data.
    """
    if not path.exists():
        return None
    remedy = "choose another --name, or pass --restart to begin anew"
    try:
        content = read_file(path)
    except UserError as error:
        if restart:
            return None
        raise UserError(f"{path} cannot be continued from ({error}); {remedy}") from None
    if restart and content.get("restart") != restart:
        return None
    version, found = content.get("format"), content.get("identity")
    if type(version) is int and version not in (1, FORMAT):
        raise UserError(f"{path} has format {version}, this version reads {FORMAT}; {remedy}")
    wrong = [name for name, kinds in _KINDS.items() if not _is_one_of(content.get(name), kinds)]
    if wrong:
        raise UserError(
            f"{path} is damaged or not a DeepCluster state (missing or malformed: "
            f"{', '.join(wrong[:4])}); {remedy}"
        )
    if found != identity:
        raise UserError(f"{path} is of another run ({_differences(found, identity)}); {remedy}")
    state: State = {name: content[name] for name in _KINDS}  # type: ignore[assignment]
    if version == 1:
        _rename_nmi(state)
    return state


def _rename_nmi(state: State) -> None:
    """Format 1 called the arithmetic NMI by the plain name, which now is the paper's."""
    history, figures = state["history"], state["figures"]
    for name in ("nmi_previous", "nmi_labels"):
        if name in history:
            history[f"{name}_arithmetic"] = history[name]
            history[name] = [None] * state["epoch"]
        if name in figures:
            figures[f"{name}_arithmetic"], figures[name] = figures[name], None


def _is_one_of(value: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _differences(found: Any, identity: str) -> str:
    try:
        return differences(found, identity)
    except (ValueError, AttributeError):
        return "its identity cannot be read"


def require_at_most(epochs: int, state: State, path: Path) -> None:
    """Raise `UserError` if the run has gone past `epochs`: the weights of then are gone."""
    if (state["epoch"], state["step"]) > (epochs, 0):
        raise UserError(
            f"{path} stands after {state['epoch']} epochs and {state['step']} steps, more than the "
            f"{epochs} epochs asked for: choose more --epochs, or pass --restart to begin anew"
        )
