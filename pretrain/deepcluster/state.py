"""What a run continues from: plain tensors and numbers, replaced atomically.

`zoo/state/NAME/deepcluster.pt`. Nothing in it is a random generator's state: every draw is keyed
by the seed and the position (epoch, step), which is all that has to be remembered.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from benchmarks.checkpoints.files import read_file, what_is_wrong
from benchmarks.whole_files import write_tensors
from pretrain.deepcluster.identity import differences
from pretrain.deepcluster.recipes import Recipe
from slurm.errors import UserError

FORMAT = 2


class DamagedState(UserError):
    """A state that cannot be read; `what` is wrong with it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what


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

    A `restart` takes up its own state alone: any other stays there until it is replaced. Raises
    `DamagedState` for a file that cannot be read, and `UserError` for one of another recipe, seed
    or data.
    """
    if not path.exists():
        return None
    remedy = "choose another --name, or pass --restart to begin anew"
    try:
        content = read_file(path)
    except UserError as error:
        reason = what_is_wrong(error)
        raise DamagedState(f"{path} cannot be continued from ({reason})", remedy) from None
    if restart and content.get("restart") != restart:
        return None
    version, found = content.get("format"), content.get("identity")
    if type(version) is int and version not in (1, FORMAT):
        raise UserError(f"{path} has format {version}, this version reads {FORMAT}; {remedy}")
    wrong = [name for name, kinds in _KINDS.items() if not _is_one_of(content.get(name), kinds)]
    if wrong:
        raise DamagedState(
            f"{path} is damaged or not a DeepCluster state (missing or malformed: "
            f"{', '.join(wrong[:4])})",
            remedy,
        )
    if found != identity:
        raise UserError(f"{path} is of another run ({differences(str(found), identity)}); {remedy}")
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


def require_at_most(epochs: int, state: State, path: Path) -> None:
    """Raise `UserError` if the run has gone past `epochs`: the weights of then are gone."""
    if (state["epoch"], state["step"]) > (epochs, 0):
        raise UserError(
            f"{path} stands after {state['epoch']} epochs and {state['step']} steps, more than the "
            f"{epochs} epochs asked for: choose more --epochs, or pass --restart to begin anew"
        )


def take_up(
    path: Path,
    state: State,
    recipe: Recipe,
    images: int,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> None:
    """Load what a state says of these three; `UserError` before that for one that cannot be."""
    fault = next(_faults(state, recipe, images), None) or next(
        _part_faults(state, net, optimizer, scaler), None
    )
    if fault:
        raise UserError(
            f"{path} is damaged ({fault}); choose another --name, or pass --restart to begin anew"
        )
    require_at_most(recipe.epochs, state, path)
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    scaler.load_state_dict(state["scaler"])


def _faults(state: State, recipe: Recipe, images: int) -> Iterator[str]:
    """What cannot be of a position, its clustering and its history."""
    epoch, step, loss, labels = state["epoch"], state["step"], state["loss"], state["labels"]
    steps = -(-images // recipe.batch_size)
    if epoch < 0 or not 0 <= step < steps:
        yield f"it stands after {epoch} epochs and {step} of {steps} steps"
    if loss.shape != () or not loss.is_floating_point() or not loss.isfinite():
        yield "its loss is not one finite number"
    if not (math.isfinite(state["seconds"]) and state["seconds"] >= 0):
        yield f"its epoch took {state['seconds']} seconds"
    if labels is None:
        if (epoch, step) != (0, 0):
            yield "it has no clusters"
    else:
        if labels.shape != (images,) or labels.dtype not in (torch.int32, torch.int64):
            yield f"its clusters are of {list(labels.shape)} images, not of {images}"
        elif not 0 <= int(labels.min()) <= int(labels.max()) < recipe.clusters:
            yield f"its clusters are not numbered from 0 to {recipe.clusters - 1}"
        due = epoch - epoch % recipe.interval
        before = due - recipe.interval if (epoch, step) == (due, 0) else due
        if state["clustered_at"] not in (due, before):
            yield f"after {epoch} epochs its clusters are of epoch {state['clustered_at'] + 1}"
    history = state["history"]
    if epoch and "loss" not in history:
        yield "its history has no loss"
    for name, values in history.items():
        if not isinstance(values, list) or len(values) != epoch:
            yield f"its history of {name} is not of {epoch} epochs"


def _part_faults(
    state: State,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> Iterator[str]:
    """In what the tensors of a state are not those of this network and its optimiser."""
    if _shapes(state["net"]) != _shapes(net.state_dict()):
        yield "its network is another one"
    found, own = state["optimizer"], optimizer.state_dict()
    groups, buffers = found.get("param_groups"), found.get("state")
    if not isinstance(groups, list) or not isinstance(buffers, dict):
        yield "its optimizer is not SGD's"
        return
    for name in ("params", "momentum", "weight_decay"):
        mine = [group[name] for group in own["param_groups"]]
        if mine != [group.get(name) if isinstance(group, dict) else None for group in groups]:
            yield f"its optimizer has other {name}"
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    trained = (state["epoch"], state["step"]) != (0, 0)
    if trained and not buffers and any(group["momentum"] for group in own["param_groups"]):
        yield "its optimizer has no momentum"
    for index, held in buffers.items():
        fits = isinstance(index, int) and 0 <= index < len(parameters) and isinstance(held, dict)
        buffer = held.get("momentum_buffer") if fits else None
        shape = getattr(buffer, "shape", None)
        if not fits or (buffer is not None and shape != parameters[index].shape):
            yield f"its optimizer's momentum {index} is of another parameter"
    if state["scaler"].keys() != scaler.state_dict().keys():
        yield "its scaler of half precision is another one"


def _shapes(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(tensor, "shape", None) for name, tensor in tensors.items()}
