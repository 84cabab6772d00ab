"""One DeepCluster run as an item of a sweep; light, so that planning needs no torch."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from benchmarks.checkpoints.cards import (
    Card,
    card_path,
    is_safetensors,
    read_card,
    weights_of,
)
from benchmarks.overrides import differences
from benchmarks.results import Split
from pretrain.deepcluster.identity import identity_of
from pretrain.deepcluster.recipes import RECIPES, Recipe
from pretrain.image_checks import training_checks, training_notes
from pretrain.plan import plan_of
from slurm import distributed
from slurm.errors import UserError
from slurm.files import write_text
from slurm.progress import say
from slurm.stop import polite_stop
from slurm.sweep import Item, Resources

if TYPE_CHECKING:
    from pretrain.deepcluster.train import Run


@dataclass(frozen=True)
class Pretrain:
    """Train one recipe on one folder of images and register the backbone under `name`."""

    zoo: Path
    name: str
    recipe: Recipe
    data: Path
    images: Split  # fingerprint of the training images
    seed: int = 0
    device: str = "auto"
    workers: int = 0  # processes that decode images, per training process
    precision: str = ""  # one of flags.trunk.PRECISIONS; empty: the device's own
    save_seconds: float = 300.0  # between two saves of the state within an epoch
    restart: str = ""  # the name of a restart: what there is lives until this is registered
    check_images: bool = False  # decode the images once before they are trained on
    keep: int = 0  # states of earlier epochs that stay beside the present one, and it with them
    probe_every: int = 0  # epochs from one k-NN of the trunk to the next; 0 is never
    fast: bool = False  # cudnn may choose other algorithms in each run

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
        return f"{self.name}/deepcluster"

    @property
    def state(self) -> Path:
        """What an interrupted run continues from; removed when it is done, unless kept."""
        return self.zoo / "state" / self.name / "deepcluster.pt"

    @property
    def mark(self) -> Path:
        """Names the restart that is under way, if one is, and its identity."""
        return self.state.with_name("restart")

    @property
    def result(self) -> Path:
        """The card of the registered checkpoint."""
        return card_path(self.zoo, self.name)

    @property
    def log(self) -> Path:
        """One JSON line per finished epoch."""
        return self.zoo / "logs" / self.name / "deepcluster.jsonl"

    @property
    def resources(self) -> Resources:
        """One process per GPU, as many as are asked for; it saves, and continues when requeued."""
        gpus = int(self.device != "cpu")
        return Resources(gpus=gpus, minutes=1440, distributed=True, resumable=True)

    @property
    def batch(self) -> int:
        """Images of a step, which the processes share equally."""
        return self.recipe.batch_size

    @property
    def identity(self) -> str:
        """JSON of all that decides an epoch's weights."""
        return identity_of(self.recipe, self.images, self.seed, self.precision, fast=self.fast)

    @property
    def plan(self) -> str:
        """What is about to be done, in a line."""
        recipe = self.recipe
        side = recipe.train.crop
        return plan_of(self.name, self.images.images, side, recipe.batch_size, recipe.epochs)

    def card(self) -> Card | None:
        """The checkpoint that is registered under this name, by whatever run."""
        return read_card(self.zoo, self.name) if card_path(self.zoo, self.name).exists() else None

    def done(self) -> bool:
        """Whether the registered checkpoint is this very run's, trained to its last epoch."""
        try:
            card = self.card()
        except UserError:
            if self.restart:  # which replaces a damaged card as well
                return False
            raise
        if card is None or card.method != "deepcluster":
            return False
        found = (card.pretraining.get("identity"), card.pretraining.get("epochs"))
        if found != (self.identity, self.recipe.epochs):
            return False
        if self.restart and card.pretraining.get("restart") != self.restart:
            return False
        return is_safetensors(weights_of(self.zoo, card))

    def run(self) -> None:
        """Train, alone or as one of several processes, and register the backbone."""
        from benchmarks.devices import precision_on, resolve_device
        from pretrain.deepcluster.clusters import feature_file
        from pretrain.deepcluster.settings import Settings
        from pretrain.deepcluster.train import Run
        from pretrain.images import read_images
        from pretrain.only_run import only_run

        world = distributed.find_world()
        device = distributed.agree_on_device(
            world, lambda: resolve_device(self.device, world.local_rank)
        )
        if world.first:
            feature_file.remove_abandoned(self.state.parent)
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
                restart=self.restart,
                seed=self.seed,
                workers=self.workers,
                precision=precision_on(device, self.precision),
                fast=self.fast,
                save_seconds=self.save_seconds,
                keep=self.keep,
                probe_every=self.probe_every,
            )
            run = Run(self.recipe, images, settings, world, device)
            if world.first:
                say(self.plan)
            if world.first and self.restart:
                self._mark_restart()
            run.train()
            if world.first:
                self._register(run, world.size)
                self.mark.unlink(missing_ok=True)
                self.forget_state()
            distributed.barrier()

    def _mark_restart(self) -> None:
        """Say that this restart is under way; a mark that says so already stays as it is."""
        if not self.mark.exists() or not self.mark.read_bytes().startswith(self.restart.encode()):
            write_text(self.mark, f"{self.restart}\n{self.identity}\n")

    def _forget_ended_restart(self) -> None:
        """Remove the mark of one that is registered: it was killed before it did so itself."""
        with suppress(UserError, OSError):
            card = self.card() if self.mark.exists() else None
            ended = None if card is None else card.pretraining.get("restart")
            if isinstance(ended, str) and self.mark.read_bytes().startswith(ended.encode()):
                self.mark.unlink()

    def forget_state(self) -> None:
        """Remove the state that a registered run ended in, which only more epochs would need.

        It stays with `keep`, beside states that an earlier command kept, and where it is of another
        run or stands elsewhere. A run that was killed before this is tidied by the next command.
        """
        self._forget_ended_restart()
        if self.keep or not self.state.exists():
            return
        from pretrain.deepcluster.earlier import earlier_states
        from pretrain.deepcluster.state import load_state

        if earlier_states(self.state):
            return
        with suppress(UserError):
            saved = load_state(self.state, self.identity, self.restart)
            if saved and (saved["epoch"], saved["step"]) == (self.recipe.epochs, 0):
                self.state.unlink(missing_ok=True)

    def _changes(self) -> tuple[str, ...]:
        """What was changed in the recipe, for the tables."""
        named = RECIPES.get(self.recipe.name, self.recipe)
        found = differences(named, self.recipe)
        return (f"recipe {named.name} with {', '.join(found)}",) if found else ()

    def _register(self, run: "Run", processes: int) -> None:
        """Register the trunk with the harness, as any method would.

        The card says nothing of time or place: an interrupted run leaves the same card as another.
        """
        from benchmarks.registry import register
        from pretrain.deepcluster.watching.history import processes_note, untimed

        recipe = self.recipe
        old = None if self.restart else self.card()
        register(
            self.zoo,
            self.name,
            {
                name: tensor.cpu().contiguous()
                for name, tensor in run.net.backbone.trunk.state_dict().items()
            },
            arch=recipe.arch,
            sobel=recipe.sobel,
            mean=recipe.mean,
            std=recipe.std,
            method="deepcluster",
            config=recipe.config,
            pretraining={
                "recipe": recipe.name,
                "settings": asdict(recipe),
                "epochs": recipe.epochs,
                "seed": self.seed,
                "images": msgspec.to_builtins(self.images),
                "processes": processes,
                "half_precision": run.settings.amp,
                "precision": run.settings.precision,
                **({"fast": True} if self.fast else {}),
                "history": untimed(run.history),
                "identity": self.identity,
                **({"restart": self.restart} if self.restart else {}),
            },
            notes=(
                *self._changes(),
                *processes_note(run.history),
                *training_notes(self.zoo, self.images),
            ),
            # A restart replaces what there is, and the same run, trained further, itself.
            force=bool(self.restart)
            or (old is not None and old.pretraining.get("identity") == self.identity),
        )
