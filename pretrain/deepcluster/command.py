"""`python -m pretrain deepcluster`: from flags to one run; light, so that --help is quick."""

import argparse
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.flags.measuring import folder_flag
from benchmarks.flags.trunk import (
    add_check_flag,
    add_precision_flags,
    add_workers_flag,
    precision_from,
)
from pretrain.deepcluster.recipes import DEFAULT, HELP, RECIPES, Recipe, check_recipe
from pretrain.other_states import refuse_other_states
from pretrain.recipe_flags import add_recipe_flags, with_flags
from slurm.cli import choose, natural, positive
from slurm.errors import UserError
from slurm.files import check_name, read_regular

if TYPE_CHECKING:
    from pretrain.deepcluster.item import Pretrain

REMEDY = "choose another --name, or pass --restart to replace it"
_RESTART = re.compile(rb"[0-9a-f]{16}")  # what `results.key_of` makes
SUMMARY = "alternate k-means on the network's features and training on its clusters (ECCV 2018)"


def recipe_names() -> list[str]:
    """What `--recipe` takes, the default first."""
    return sorted(RECIPES, key=lambda name: name != DEFAULT)


def recipe(name: str) -> Recipe:
    """The numbers of a recipe."""
    return RECIPES[choose(name, RECIPES, "recipe")]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this method."""
    parser.add_argument(
        "--recipe",
        default=DEFAULT,
        metavar="NAME",
        help=f"one of {', '.join(recipe_names())} (default: the first)",
    )
    parser.add_argument(
        "--data",
        required=True,
        type=folder_flag,
        metavar="DIR",
        help="an ImageNet-layout folder (train/, val/, perhaps meta/; labels only monitor), or "
        "any folder of images",
    )
    parser.add_argument("--name", required=True, help="the name the checkpoint is registered under")
    parser.add_argument("--epochs", type=positive, metavar="N", help="instead of the recipe's")
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="continue from the saved state if there is one"
    )
    again.add_argument(
        "--restart",
        action="store_true",
        help="train anew; the checkpoint of this name is replaced when the new one is done",
    )
    add_workers_flag(parser)
    add_check_flag(parser)
    parser.add_argument(
        "--save-every",
        type=natural,
        default=300,
        metavar="SECONDS",
        help="save the state this often within an epoch (default: 300); it is also saved at the "
        "end of each epoch and on SIGUSR2 and SIGTERM",
    )
    parser.add_argument(
        "--keep",
        type=natural,
        default=0,
        metavar="N",
        help="states of the last N epochs that stay beside the present one; all of them stay when "
        "the run is done, so that more --epochs can follow (default: 0, and none stays)",
    )
    parser.add_argument(
        "--probe-every",
        type=natural,
        default=0,
        metavar="N",
        help="every N epochs, k nearest neighbours of the trunk on a part of the images, into the "
        "history; needs labels (default: 0, never)",
    )
    add_precision_flags(parser)
    parser.add_argument(
        "--fast",
        action="store_true",
        help="let cudnn choose the algorithms of GPUs by trying: faster, and another run then ends "
        "in other last bits (recorded)",
    )
    add_recipe_flags(parser, RECIPES[DEFAULT], HELP)


def make_item(args: argparse.Namespace) -> "Pretrain":
    """The run that the flags describe; `UserError` when it cannot be started."""
    from benchmarks import results
    from benchmarks.backbones.architectures import check_architecture
    from benchmarks.checkpoints.cards import card_path
    from pretrain.deepcluster.item import Pretrain
    from pretrain.images import read_images

    check_name(args.name, "--name")
    if args.name.startswith("random-"):
        raise UserError(f"--name {args.name}: names from random- on are kept for random trunks")
    numbers = with_flags(recipe(args.recipe), args)
    check_architecture(numbers.arch)
    check_recipe(numbers)
    images = read_images(args.data).fingerprint()
    if images.images < numbers.clusters:
        raise UserError(
            f"{args.data} holds {images.images} images, too few for the {numbers.clusters} "
            f"clusters of {numbers.name}; choose fewer --clusters, another --recipe or more images"
        )
    if numbers.pca >= images.images:
        raise UserError(
            f"{args.data} holds {images.images} images, whose features vary in fewer than the "
            f"{numbers.pca} directions of PCA; use a lower --pca or more images"
        )
    if args.probe_every and not images.classes:
        raise UserError(f"--probe-every asks for labels, and {args.data} has none: leave it out")
    item = Pretrain(
        zoo=args.zoo,
        name=args.name,
        recipe=numbers,
        data=args.data,
        images=images,
        seed=args.seed,
        device=args.device,
        workers=args.workers,
        precision=precision_from(args),
        save_seconds=args.save_every,
        check_images=args.check_images,
        keep=args.keep,
        probe_every=args.probe_every,
        fast=args.fast,
    )
    if args.restart:
        # The same in all processes of a run, which plan before the first of them writes anything.
        # Damaged files name it as well as whole ones.
        files = (card_path(item.zoo, item.name), item.mark)
        old, under_way = (read_if_there(file).decode(errors="replace") for file in files)
        return replace(item, restart=results.key_of("restart", old, under_way))
    item = replace(item, restart=_restart_under_way(item))
    try:
        done = item.done()
    except UserError as error:  # its card is damaged
        raise UserError(f"{error}; {REMEDY}") from None
    if not done:
        _check_previous(item, resume=args.resume)
    return item


def read_if_there(path: Path) -> bytes:
    """What a small file holds, or nothing."""
    return read_regular(path) if path.exists() else b""


def _restart_under_way(item: "Pretrain") -> str:
    """The name of the restart that was begun and not ended, or nothing.

    `UserError` when it was begun by other flags: it would be another run that goes on.
    """
    from pretrain.deepcluster.identity import differences

    if not item.mark.exists():
        return ""
    name, _, identity = read_regular(item.mark).partition(b"\n")
    if not _RESTART.fullmatch(name):
        raise UserError(f"{item.mark} is damaged: it names no restart; {REMEDY}")
    with suppress(UserError):
        card = item.card()
        if card is not None and card.pretraining.get("restart") == name.decode():
            return ""  # it ended, and was killed before it could say so
    began = identity.decode(errors="replace").strip()
    if began not in ("", item.identity):  # nothing, in marks of earlier versions
        raise UserError(
            f"{item.mark} is of a restart by other flags that did not end "
            f"({differences(began, item.identity)}): run its command again, with --resume instead "
            "of --restart, or pass --restart to begin anew with these; to keep what is registered, "
            "remove it and the states of that restart beside it"
        )
    return name.decode()


def _check_previous(item: "Pretrain", *, resume: bool) -> None:
    """Refuse to mix with, or silently take up, what another command left under this name."""
    from benchmarks.checkpoints.cards import card_path
    from pretrain.deepcluster.earlier import earlier_states
    from pretrain.deepcluster.identity import differences

    states = [item.state] if item.state.exists() else list(earlier_states(item.state).values())
    card = item.card()
    if card is not None and not item.restart:
        found = card.pretraining.get("identity")
        if card.method != "deepcluster" or not isinstance(found, str):
            raise UserError(f"{card_path(item.zoo, item.name)} is of another method; {REMEDY}")
        if found != item.identity:
            raise UserError(
                f"{card_path(item.zoo, item.name)} is of another run "
                f"({differences(found, item.identity)}); {REMEDY}"
            )
        epochs = card.pretraining.get("epochs")
        if isinstance(epochs, int) and epochs > item.recipe.epochs:
            raise UserError(
                f"{item.name} is registered after {epochs} epochs, more than the "
                f"{item.recipe.epochs} asked for; {REMEDY}"
            )
        if isinstance(epochs, int) and epochs < item.recipe.epochs and not states:
            raise UserError(
                f"{item.name} is registered after {epochs} epochs, and its state was removed then: "
                f"it cannot go on to {item.recipe.epochs}; {REMEDY}, with --keep 1 if more epochs "
                "may follow"
            )
    if not item.restart:  # which replaces whatever there is
        refuse_other_states(item.state, item.mark)
    if states and not resume:
        raise UserError(
            f"{states[0]} holds an earlier run of this name; pass --resume to continue it, or "
            "--restart to begin anew"
        )
