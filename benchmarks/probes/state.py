"""The file that an interrupted probe continues from, and whether it is one of this probe."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.checkpoints.files import read_file
from benchmarks.probes.grid import Grid
from benchmarks.probes.optimization import evaluated_epochs
from benchmarks.protocols import LinearProtocol
from slurm.errors import UserError
from slurm.progress import say


def read_state(
    path: Path,
    heads: nn.Module,
    optimizer: torch.optim.Optimizer,
    protocol: LinearProtocol,
    grid: Grid | None = None,
) -> dict[str, Any] | None:
    """The saved state, or None when there is none.

    One that is damaged, or that does not fit these heads and their optimiser, or those of `grid`,
    is said and not used.
    """
    if not path.exists():
        return None
    try:
        state = read_file(path)
    except UserError as error:
        say(f"{path} cannot be continued from ({error}): starting from the first epoch")
        return None
    wrong = _misfit(state, heads, optimizer, protocol)
    if wrong is None and grid is not None and grid.points:
        wrong = _grid_misfit(state.get("grid"), grid, len(state["history"]))
    if wrong:
        say(f"{path} is no state of this probe ({wrong}): starting from the first epoch")
        return None
    return state


def _misfit(
    state: dict[str, Any],
    heads: nn.Module,
    optimizer: torch.optim.Optimizer,
    protocol: LinearProtocol,
) -> str | None:
    """What does not fit, or None."""
    epoch, step = state.get("epoch"), state.get("step")
    history, seconds = state.get("history"), state.get("seconds")
    if type(epoch) is not int or type(step) is not int or min(epoch, step) < 0:
        return "epoch and step"
    if type(seconds) is not float or not seconds >= 0.0:
        return "seconds"
    evaluated = [number for number in evaluated_epochs(protocol) if number <= epoch]
    if not isinstance(history, list) or len(history) != len(evaluated):
        return "history"
    if not _are_outcomes(state.get("outcomes", {}), heads.state_dict()):
        return "outcomes"
    if not all(isinstance(scores, dict) and _are_scores(scores) for scores in history):
        return "history"
    if not _same_tensors(state.get("heads"), heads.state_dict()):
        return "heads"
    return None if _fits_optimizer(state.get("optimizer"), optimizer) else "optimizer"


def _grid_misfit(found: Any, grid: Grid, evaluations: int) -> str | None:
    """What does not fit of the heads beside the protocol's own, or None."""
    ours = grid.state()
    if not isinstance(found, dict) or found.keys() != ours.keys():
        return "grid"
    if found["points"] != ours["points"]:
        return "points of the grid"
    history, diverged = found["history"], found["diverged"]
    if not isinstance(history, list) or len(history) != evaluations:
        return "history of the grid"
    if not all(isinstance(scores, dict) and _are_scores(scores) for scores in history):
        return "history of the grid"
    if not isinstance(diverged, dict) or not all(type(one) is int for one in diverged.values()):
        return "diverged heads of the grid"
    for part in ("heads", "optimizers"):
        if not isinstance(found[part], dict) or found[part].keys() != ours[part].keys():
            return f"{part} of the grid"
    for name, tap in grid.taps.items():
        if not _same_tensors(found["heads"][name], ours["heads"][name]):
            return "heads of the grid"
        if not _fits_optimizer(found["optimizers"][name], tap.optimizer):
            return "optimizers of the grid"
    return None


def _are_outcomes(found: Any, heads: dict[str, Tensor]) -> bool:
    """Whether it is empty, as states of earlier builds are, or int32 (2, images) by head."""
    return isinstance(found, dict) and all(
        any(name.startswith(f"heads.{tap}.") for name in heads)
        and isinstance(one, Tensor)
        and one.dtype == torch.int32
        and one.ndim == 2
        and len(one) == 2
        for tap, one in found.items()
    )


def _are_scores(scores: dict[Any, Any]) -> bool:
    return all(
        isinstance(tap, str)
        and isinstance(pair, tuple)
        and len(pair) == 2
        and all(type(value) is float for value in pair)
        for tap, pair in scores.items()
    )


def _same_tensors(found: Any, ours: dict[str, Tensor]) -> bool:
    return (
        isinstance(found, dict)
        and found.keys() == ours.keys()
        and all(
            isinstance(found[name], Tensor)
            and (found[name].shape, found[name].dtype) == (tensor.shape, tensor.dtype)
            for name, tensor in ours.items()
        )
    )


def _fits_optimizer(found: Any, optimizer: torch.optim.Optimizer) -> bool:
    """Whether the groups are ours and each momentum has the shape of its parameter."""
    if not isinstance(found, dict) or not isinstance(found.get("state"), dict):
        return False
    ours, groups = optimizer.state_dict()["param_groups"], found.get("param_groups")
    if not isinstance(groups, list) or len(groups) != len(ours):
        return False
    for group, own in zip(groups, ours, strict=True):
        if not isinstance(group, dict) or group.keys() != own.keys():
            return False
        if group["params"] != own["params"]:
            return False
    parameters = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    for number, values in found["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            return False
        momentum = values.get("momentum_buffer") if isinstance(values, dict) else None
        if momentum is not None and not isinstance(momentum, Tensor):
            return False
        if momentum is not None and momentum.shape != parameters[number].shape:
            return False
        if not isinstance(values, dict):
            return False
    return True
