"""What a run has left so far, finished or not: the log, the trunk, whose images it was of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.checkpoints.cards import card_path, read_card, weights_of
from pretrain.deepcluster.watching.history import History
from slurm.errors import UserError
from slurm.failures import UNREADABLE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RunFiles:
    """Log, trunk and images of one run, by its name."""

    log: Path
    history: History  # by column; of another length than others where a build had none of it
    trunk: "dict[str, Tensor]"
    images: str  # the hash of the list of its images
    numbers: Mapping[str, Any]  # of the recipe
    finished: bool  # whether the trunk is the registered one


def read_run(zoo: Path, name: str) -> RunFiles:
    """The files of the run `name`; `UserError` when there is none, or one that cannot be read.

    A run that is under way is shown by its state, which is newer than what is registered.
    """
    state = zoo / "state" / name / "deepcluster.pt"
    log = zoo / "logs" / name / "deepcluster.jsonl"
    if state.exists():
        from benchmarks.checkpoints.files import read_file

        content = read_file(state)
        try:
            identity = msgspec.json.decode(content["identity"], type=dict[str, Any])
            trunk = {
                key.removeprefix("backbone.trunk."): value
                for key, value in content["net"].items()
                if key.startswith("backbone.trunk.")
            }
            images, numbers, history = identity["images"], identity["recipe"], content["history"]
        except (*UNREADABLE, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{state} is no state of DeepCluster ({error!r})") from None
        return RunFiles(log, history, trunk, images, numbers, finished=False)
    if not card_path(zoo, name).exists():
        raise UserError(f"{zoo} has no run {name}: neither a state nor a registered checkpoint")
    card = read_card(zoo, name)
    if card.method != "deepcluster":
        raise UserError(f"{name} was trained by {card.method or 'another method'}: not shown here")
    from safetensors.torch import load_file

    facts = card.pretraining
    listed, history, numbers = (facts.get(key) for key in ("images", "history", "settings"))
    if not (isinstance(listed, dict) and isinstance(history, dict) and isinstance(numbers, dict)):
        raise UserError(f"{card_path(zoo, name)} says nothing of how {name} was trained")
    weights = load_file(weights_of(zoo, card))
    return RunFiles(log, history, weights, str(listed.get("sha256")), numbers, finished=True)


def read_log(log: Path) -> History:
    """The log by column, or nothing where there is none: it has times that a card has not."""
    try:
        lines = log.read_bytes().splitlines()
        rows = [msgspec.json.decode(line, type=dict[str, Any]) for line in lines]
    except FileNotFoundError:
        return {}
    except UNREADABLE as error:
        raise UserError(f"{log} is no log of a run ({error})") from None
    names = dict.fromkeys(name for row in rows for name in row if name != "epoch")
    return {name: [row.get(name) for row in rows] for name in names}
