"""The pretraining methods: a name, and the module that turns flags into a run.

To add one, write a module like `rotation.py` that has the members of `Method`, or a folder like
`deepcluster/` whose `command.py` has them, and a line in `METHODS`. A method ends by calling
`benchmarks.registry.register`; the harness knows nothing else of it.
"""

import argparse
from typing import Protocol

from pretrain import rotation
from pretrain.deepcluster import command as deepcluster
from slurm.sweep import Item


class Pretraining(Item, Protocol):
    """One run."""

    @property
    def plan(self) -> str:
        """What it is about to do, in a line; see `plan_of`."""

    def forget_state(self) -> None:
        """Remove what a registered run no longer needs; called after it, and when it is done."""


class Method(Protocol):
    """What `python -m pretrain METHOD` needs; a module can satisfy it. Light at import."""

    SUMMARY: str  # one line for `python -m pretrain list`

    def recipe_names(self) -> list[str]:
        """What `--recipe` takes, the default first."""

    def recipe(self, name: str) -> object:
        """The numbers of a recipe, as a frozen dataclass."""

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Add the method's flags, `--recipe`, `--data` and `--name` among them."""

    def make_item(self, args: argparse.Namespace) -> Pretraining:
        """The run as an item of a sweep, which registers `args.name` in `args.zoo`."""


METHODS: dict[str, Method] = {
    "deepcluster": deepcluster,
    "rotation": rotation,
}
