"""Rotation prediction: a network learns to tell by how many quarter turns an image was turned.

Gidaris, Singh, Komodakis: "Unsupervised Representation Learning by Predicting Image Rotations",
ICLR 2018. A second method, small and whole: its flags and its item are here, beside it its numbers
(`rotation_recipes.py`) and loop (`rotation_training.py`). CONTRIBUTING.md says how to add one.
"""

import argparse
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import msgspec

from benchmarks.backbones.architectures import check_architecture
from benchmarks.checkpoints.cards import Card, card_path, is_safetensors, read_card, weights_of
from benchmarks.flags.measuring import folder_flag
from benchmarks.flags.trunk import add_check_flag, add_workers_flag
from benchmarks.overrides import differences
from benchmarks.results import Split
from pretrain.deepcluster.identity import differences as run_differences
from pretrain.image_checks import training_checks, training_notes
from pretrain.other_states import refuse_other_states
from pretrain.plan import plan_of
from pretrain.recipe_checks import check_numbers
from pretrain.recipe_flags import add_recipe_flags, with_flags
from pretrain.rotation_recipes import HELP, RECIPES, RESNET50, Recipe
from slurm.cli import choose, natural, positive
from slurm.errors import UserError
from slurm.files import check_name
from slurm.sweep import Item, Resources

SUMMARY = "tell by how many quarter turns an image was turned (ICLR 2018)"
REMEDY = "choose another --name"


def recipe_names() -> list[str]:
    """What `--recipe` takes, the default first."""
    return list(RECIPES)


def recipe(name: str) -> Recipe:
    """The numbers of a recipe."""
    return RECIPES[choose(name, RECIPES, "recipe")]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this method."""
    parser.add_argument(
        "--recipe",
        default=RESNET50.name,
        metavar="NAME",
        help=f"one of {', '.join(RECIPES)} (default: the first)",
    )
    parser.add_argument(
        "--data",
        required=True,
        type=folder_flag,
        metavar="DIR",
        help="an ImageNet-layout folder, or any folder of images; labels are not looked at",
    )
    parser.add_argument("--name", required=True, help="the name the checkpoint is registered under")
    parser.add_argument("--epochs", type=positive, metavar="N", help="instead of the recipe's")
    parser.add_argument(
        "--resume", action="store_true", help="continue from the saved state if there is one"
    )
    add_workers_flag(parser)
    add_check_flag(parser)
    parser.add_argument(
        "--save-every",
        type=natural,
        default=300,
        metavar="SECONDS",
        help="save the state this often within an epoch (default: 300)",
    )
    parser.add_argument(
        "--keep",
        type=natural,
        default=0,
        metavar="N",
        help="1: the state stays when the run is done, so that more --epochs can follow; give it "
        "in every command of this run (default: 0, it is removed)",
    )
    add_recipe_flags(parser, RESNET50, HELP)


def make_item(args: argparse.Namespace) -> "Rotation":
    """The run that the flags describe; `UserError` when it cannot be started."""
    from pretrain.images import read_images

    check_name(args.name, "--name")
    if args.name.startswith("random-"):
        raise UserError(f"--name {args.name}: names from random- on are kept for random trunks")
    numbers = with_flags(recipe(args.recipe), args)
    check_architecture(numbers.arch)
    check_numbers(numbers)
    item = Rotation(
        zoo=args.zoo,
        name=args.name,
        recipe=numbers,
        data=args.data,
        images=read_images(args.data).fingerprint(),
        seed=args.seed,
        device=args.device,
        workers=args.workers,
        save_seconds=args.save_every,
        check_images=args.check_images,
        keep=args.keep,
    )
    old = item.card()
    if item.done():
        return item
    if old is not None and not item.continues(old):
        raise UserError(f"{item.result} is of {item.unlike(old)}; {REMEDY}")
    epochs = numbers.epochs if old is None else old.pretraining.get("epochs")
    if epochs != numbers.epochs and not item.state.exists():
        raise UserError(
            f"{item.name} is registered after {epochs} epochs, and its state was removed then: "
            f"it cannot go on to {numbers.epochs}; {REMEDY}, with --keep 1 if more may follow"
        )
    refuse_other_states(item.state)
    if item.state.exists() and not args.resume:
        raise UserError(f"{item.state} holds an earlier run: pass --resume, or {REMEDY}")
    return item


@dataclass(frozen=True)
class Rotation:
    """Train one recipe on one folder of images and register the backbone under `name`."""

    zoo: Path
    name: str
    recipe: Recipe
    data: Path
    images: Split  # fingerprint of the training images
    seed: int = 0
    device: str = "auto"
    workers: int = 0
    save_seconds: float = 300.0
    check_images: bool = False  # decode the images once before they are trained on
    keep: int = 0  # whether the state stays when the run is done

    stage: ClassVar[str] = "pretrain"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The check of the images, where it was asked for."""
        if not self.check_images:
            return ()
        return training_checks(self.zoo, self.data, self.images, self.workers)

    @property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.name}/rotation"

    @property
    def state(self) -> Path:
        """What an interrupted run continues from; removed when it is done, unless kept."""
        return self.zoo / "state" / self.name / "rotation.pt"

    @property
    def log(self) -> Path:
        """One JSON line per finished epoch."""
        return self.zoo / "logs" / self.name / "rotation.jsonl"

    @property
    def result(self) -> Path:
        """The card of the registered checkpoint."""
        return card_path(self.zoo, self.name)

    @property
    def resources(self) -> Resources:
        """One process per GPU, as many as are asked for; it saves, and continues when requeued."""
        return Resources(int(self.device != "cpu"), minutes=1440, distributed=True, resumable=True)

    @property
    def batch(self) -> int:
        """Images of a step, which the processes share equally."""
        return self.recipe.batch_size

    @property
    def identity(self) -> str:
        """JSON of all that decides an epoch's weights."""
        numbers = {k: v for k, v in asdict(self.recipe).items() if k not in ("epochs", "config")}
        content = {"method": "rotation", "recipe": numbers, "seed": self.seed}
        content |= {"images": self.images.sha256, "sizes": self.images.sizes}
        return msgspec.json.encode(content, order="deterministic").decode()

    @property
    def plan(self) -> str:
        """What is about to be done, in a line."""
        one = self.recipe
        return plan_of(self.name, self.images.images, one.train.crop, one.batch_size, one.epochs)

    def card(self) -> Card | None:
        """The checkpoint that is registered under this name, by whatever run."""
        return read_card(self.zoo, self.name) if self.result.exists() else None

    def continues(self, card: Card) -> bool:
        """Whether a checkpoint is of this run after as many epochs, or fewer."""
        epochs = card.pretraining.get("epochs")
        same = card.pretraining.get("identity") == self.identity
        return same and isinstance(epochs, int) and epochs <= self.recipe.epochs

    def unlike(self, card: Card) -> str:
        """What a checkpoint is of that this run does not continue, in words."""
        found = card.pretraining.get("identity")
        if card.method != "rotation" or not isinstance(found, str):
            return "another method"
        what = run_differences(found, self.identity)
        return f"another run ({what})" if what else f"more than {self.recipe.epochs} epochs"

    def done(self) -> bool:
        """Whether the registered checkpoint is this very run's, trained to its last epoch."""
        card = self.card()
        if card is None or not self.continues(card):
            return False
        whole = is_safetensors(weights_of(self.zoo, card))
        return whole and card.pretraining.get("epochs") == self.recipe.epochs

    def run(self) -> None:
        """Train, alone or as one of several processes, and register the backbone."""
        from benchmarks.devices import resolve_device
        from benchmarks.registry import register
        from pretrain.deepcluster.watching.history import processes_note, untimed
        from pretrain.images import read_images
        from pretrain.only_run import only_run
        from pretrain.rotation_training import Settings, Training
        from slurm import distributed
        from slurm.progress import say
        from slurm.stop import polite_stop

        world = distributed.find_world()
        device = distributed.agree_on_device(
            world, lambda: resolve_device(self.device, world.local_rank)
        )
        with polite_stop(), distributed.process_group(world, device), only_run(self, world) as done:
            if done:
                return
            images = read_images(self.data)
            images.require(self.images)
            settings = Settings(
                name=self.name,
                key=self.key,
                state=self.state,
                log=self.log,
                identity=self.identity,
                seed=self.seed,
                workers=self.workers,
                save_seconds=self.save_seconds,
            )
            run = Training(self.recipe, images, settings, world, device)
            if world.first:
                say(self.plan)
            run.train()
            if world.first:
                old = self.card()  # there now, which another run may have registered meanwhile
                trunk = run.net.backbone.trunk.state_dict()
                named = RECIPES.get(self.recipe.name, self.recipe)
                changes = ", ".join(differences(named, self.recipe))
                notes = [f"recipe {named.name} with {changes}"] if changes else []
                notes += processes_note(run.history)
                register(
                    self.zoo,
                    self.name,
                    {name: tensor.cpu() for name, tensor in trunk.items()},
                    arch=self.recipe.arch,
                    sobel=self.recipe.sobel,
                    mean=self.recipe.mean,
                    std=self.recipe.std,
                    method="rotation",
                    config=self.recipe.config,
                    pretraining={
                        "recipe": self.recipe.name,
                        "settings": asdict(self.recipe),
                        "epochs": self.recipe.epochs,
                        "seed": self.seed,
                        "images": msgspec.to_builtins(self.images),
                        "processes": world.size,
                        "history": untimed(run.history),
                        "identity": self.identity,
                    },
                    notes=(*notes, *training_notes(self.zoo, self.images)),
                    force=old is not None and self.continues(old),
                )
                self.forget_state()
            distributed.barrier()

    def forget_state(self) -> None:
        """Remove the state that a registered run ended in; not one that is kept or elsewhere."""
        if self.keep or not self.state.exists():
            return
        from benchmarks.checkpoints.files import read_file

        with suppress(UserError):
            place = map(read_file(self.state).get, ("identity", "epoch", "step"))
            if tuple(place) == (self.identity, self.recipe.epochs, 0):
                self.state.unlink(missing_ok=True)
