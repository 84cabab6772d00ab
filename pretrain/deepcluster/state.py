"""What a run continues from: plain tensors and numbers, replaced atomically.

`zoo/state/NAME/deepcluster.pt`. Nothing in it is a random generator's state: every draw is keyed
by the seed and the position (epoch, step), which is all that has to be remembered.
"""

import pickle
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor

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
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        version, found = state["format"], state["identity"]
        begun = state.get("restart", "")
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError):
        if restart:
            return None
        raise UserError(f"{path} is damaged or not a DeepCluster state; {remedy}") from None
    if restart and begun != restart:
        return None
    if version == 1:
        _rename_nmi(state)
    elif version != FORMAT:
        raise UserError(f"{path} has format {version}, this version reads {FORMAT}; {remedy}")
    if found != identity:
        raise UserError(f"{path} is of another run ({differences(found, identity)}); {remedy}")
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


def require_at_most(epochs: int, state: State, path: Path) -> None:
    """Raise `UserError` if the run has gone past `epochs`: the weights of then are gone."""
    if (state["epoch"], state["step"]) > (epochs, 0):
        raise UserError(
            f"{path} stands after {state['epoch']} epochs and {state['step']} steps, more than the "
            f"{epochs} epochs asked for: choose more --epochs, or pass --restart to begin anew"
        )
