"""DeepCluster's loop: extract features, cluster, sample, reset the classifier, train one epoch.

Caron, Bojanowski, Joulin, Douze: "Deep Clustering for Unsupervised Learning of Visual Features",
ECCV 2018. Labels, if the images have any, serve for the reported NMI only.
"""

import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.datasets.splits import ImageSplit
from benchmarks.devices import to_device
from benchmarks.images.batches import Images
from pretrain.deepcluster.earlier import keep_state, load_newest
from pretrain.deepcluster.extract import TRAIN, transforms_of
from pretrain.deepcluster.model import (
    DeepClusterNet,
    mean_loss,
    parameter_groups,
    reset_head,
    seed_of,
)
from pretrain.deepcluster.probe import probe
from pretrain.deepcluster.recipes import Recipe, learning_rate
from pretrain.deepcluster.reclustering import cluster_images
from pretrain.deepcluster.sampling import Plan, draw_uniform, loss_weights, plan_epoch
from pretrain.deepcluster.settings import Settings
from pretrain.deepcluster.state import FORMAT, State, save_state, take_up
from pretrain.deepcluster.watching.history import add_row, epoch_line, epoch_row
from pretrain.deepcluster.watching.records import record_clusters, record_epoch, record_start
from pretrain.recipe_checks import check_share
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError
from slurm.progress import position, progress, say
from slurm.stop import Stopped, received, stop_requested
from slurm.tasks.voting import Votes


class Run:
    """One run in progress: `epoch` and `step` say where it stands."""

    def __init__(
        self,
        recipe: Recipe,
        images: ImageSplit,
        settings: Settings,
        world: World,
        device: torch.device,
    ) -> None:
        if settings.amp and device.type != "cuda":
            raise UserError("--amp is half precision on a GPU; leave it out on the CPU")
        check_share(recipe.batch_size, world.size, recipe.name)
        torch.backends.cudnn.benchmark = settings.fast
        torch.backends.cudnn.deterministic = not settings.fast
        torch.backends.cudnn.allow_tf32 = settings.precision != "fp32"
        self.recipe, self.images, self.settings = recipe, images, settings
        self.world, self.device = world, device
        self.loaded = Images(images, transforms_of(recipe), settings.seed, settings.workers, device)
        self.net = DeepClusterNet(recipe, seed=settings.seed).to(device)
        if device.type == "cuda":
            self.net = self.net.to(memory_format=torch.channels_last)
        self.trained: nn.Module = self.net  # the same, with averaged gradients if there are many
        if world.size > 1:
            devices = [device] if device.type == "cuda" else None
            self.trained = nn.parallel.DistributedDataParallel(self.net, device_ids=devices)
        # Any other would make the scaler of half precision wait for the GPU in each step.
        self.fused = True if settings.amp else None
        self.optimizer = torch.optim.SGD(
            parameter_groups(self.net, recipe.momentum),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=self.fused,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.amp)
        self.epoch = 0  # finished epochs
        self.step = 0  # finished steps of the next epoch
        self.loss = torch.zeros((), dtype=torch.float64, device=device)  # sum over these steps
        self.labels: NDArray[np.int64] | None = None
        self.weights: Tensor | None = None  # of the clusters in the loss; None is 1 for each
        self.clustered_at = -1
        self.figures: dict[str, Any] = {}
        self.history: dict[str, list[Any]] = {}
        self.seconds = 0.0  # of this epoch before `started`
        self.started = self.saved = time.monotonic()
        self.votes = Votes(device)
        self.mistakes: list[UserError] = []  # images of this process that cannot be read

    def train(self) -> None:
        """Go on from the state file, if there is one, to the end of the last epoch."""
        self.resume()
        if self.world.first:
            record_start(self.settings.log, self.history)
        while self.epoch < self.recipe.epochs:
            if self.clustering_due():
                self.recluster()
            self.train_epoch()

    def clustering_due(self) -> bool:
        """Whether this epoch begins with a new clustering that has not been made yet."""
        begins = self.step == 0 and self.epoch % self.recipe.interval == 0
        return self.labels is None or (begins and self.clustered_at != self.epoch)

    def recluster(self) -> None:
        """Assign every image to a cluster by the present features, and forget the classifier."""
        found, self.figures = cluster_images(
            self.net,
            self.images,
            self.loaded,
            self.recipe,
            self.settings,
            epoch=self.epoch,
            previous=self.labels,
            world=self.world,
            device=self.device,
        )
        self.labels = found.labels
        self.clustered_at = self.epoch
        if self.world.first:
            log, clusters = self.settings.log, self.recipe.clusters
            record_clusters(log, self.epoch + 1, self.labels, clusters)
        reset_head(self.net.head, seed=self.settings.seed, epoch=self.epoch)
        self.save()  # a clustering of millions of images takes longer than some interruptions

    def train_epoch(self) -> None:
        """Train what is left of one epoch on the present clusters, report it and save."""
        assert self.labels is not None
        draws = draw_uniform(self.labels, seed=self.settings.seed, epoch=self.epoch)
        plan = plan_epoch(draws, self.recipe.batch_size)
        # Looked up here, by index, for each batch: what loads images never holds a label, so no
        # process can go on serving those of an earlier clustering.
        labels = torch.from_numpy(self.labels[plan.images]).to(self.device)
        if self.recipe.reweight:
            weights = torch.from_numpy(loss_weights(self.labels, self.recipe.clusters))
            self.weights = weights.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.epoch)
        self.trained.train()
        steps = len(plan.ids)
        with self._bar(steps) as bar:
            for pixels, ids in self._batches(plan):
                self._train_step(pixels, labels[to_device(ids, self.device)])
                self.step += 1
                bar.update()
                if self.step < steps:
                    self._save_or_stop()
        self._end_epoch(steps)

    def _batches(self, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
        """What is left of the epoch: images and their ids in the plan."""
        mine = plan.share(self.world.rank, self.world.size)
        ids, size = mine[self.step :].ravel(), mine.shape[1]
        images = plan.images[ids]
        return self.loaded.batches(TRAIN, self.epoch, images, size, ids, self.mistakes)

    def _train_step(self, pixels: Tensor, targets: Tensor) -> None:
        # Dropout draws from torch's own generator: keyed by the position, so that a run which
        # continues draws the same.
        torch.manual_seed(seed_of(self.settings.seed, self.epoch, self.step, self.world.rank, 4))
        with torch.autocast(self.device.type, enabled=self.settings.amp):
            loss = mean_loss(self.trained(pixels), targets, self.weights)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.loss += loss.detach()

    def _end_epoch(self, steps: int) -> None:
        distributed.raise_together(self.mistakes)
        loss = float(distributed.mean(self.loss) / steps)
        self._check_loss(loss)
        seconds = self.seconds + time.monotonic() - self.started
        row = epoch_row(
            self.figures,
            clustered=self.clustered_at == self.epoch,
            loss=loss,
            rate=self.optimizer.param_groups[0]["lr"],
            images=steps * self.recipe.batch_size,
            seconds=seconds,
        )
        add_row(self.history, row | {"processes": self.world.size} | self._probed())
        self.epoch += 1
        self.step = 0
        self.loss.zero_()
        self.seconds, self.started = 0.0, time.monotonic()
        self.save()
        if self.world.first:
            keep_state(self.settings.state, self.epoch, self.settings.keep)
            record_epoch(self.settings.log, self.history)
            say(f"{self.settings.name}: {epoch_line(self.history, self.recipe.epochs)}")
        if distributed.any_true(stop_requested(), self.device):
            raise self._stopped()

    def _probed(self) -> dict[str, Any]:
        """What a probe says after this epoch, if one is due: the first process has it made."""
        every, finished = self.settings.probe_every, self.epoch + 1
        if not every or (finished % every and finished != self.recipe.epochs):
            return {}
        started, top1 = time.monotonic(), None
        if self.world.first:
            try:
                top1 = probe(self.net, self.images, self.recipe, self.settings)
            except UserError as mistake:
                self.mistakes.append(mistake)
        distributed.raise_together(self.mistakes)
        seconds = time.monotonic() - started
        return {"knn_top1": distributed.broadcast_object(top1), "seconds_probe": seconds}

    def _save_or_stop(self) -> None:
        """Save now and then; save and stop when it is asked for, all processes at one step."""
        due = time.monotonic() - self.saved > self.settings.save_seconds
        if not self.votes.agree(bool(due or self.mistakes or stop_requested())):
            return
        distributed.raise_together(self.mistakes)
        distributed.mean(self.loss)  # the same in every process, as it will be after a resume
        self._check_loss(float(self.loss))
        self.save()
        if distributed.any_true(stop_requested(), self.device):
            raise self._stopped()

    def _stopped(self) -> Stopped:
        names = ", ".join(signal.Signals(number).name for number in received())
        where = position(self.epoch, self.recipe.epochs, self.step)
        return Stopped(f"{self.settings.key}: by {names or 'another process'}, saved at {where}")

    def _check_loss(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise UserError(
                f"{self.settings.key}: the loss is {loss} in epoch {self.epoch + 1}: training has "
                "diverged; lower the recipe's learning rate (the last good state is kept)"
            )

    def _bar(self, steps: int) -> Any:
        """A bar over the whole run, so that its ETA is the run's."""
        return progress(
            desc=self.settings.key,
            total=self.recipe.epochs * steps,
            initial=self.epoch * steps + self.step,
            unit="step",
            disable=not self.world.first,
        )

    def save(self) -> None:
        """Write the state; all processes hold the same, the first one writes it."""
        self.saved = time.monotonic()
        if not self.world.first:
            return
        labels = None if self.labels is None else torch.from_numpy(self.labels.astype(np.int32))
        content: State = {
            "format": FORMAT,
            "identity": self.settings.identity,
            "restart": self.settings.restart,
            "epoch": self.epoch,
            "step": self.step,
            "loss": self.loss.cpu(),
            "seconds": self.seconds + time.monotonic() - self.started,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "labels": labels,
            "clustered_at": self.clustered_at,
            "figures": self.figures,
            "history": self.history,
        }
        save_state(self.settings.state, content)

    def resume(self) -> None:
        """Continue from the state file, if there is one.

        Raises `UserError` for a state that is damaged, of another run, or past the last epoch.
        """
        settings = self.settings
        wanted = (settings.state, settings.identity, settings.restart, self.recipe.epochs)
        found = load_newest(*wanted, speaks=self.world.first)
        if found is not None:
            path, saved = found
            parts = (self.net, self.optimizer, self.scaler)
            take_up(path, saved, self.recipe, len(self.images.paths), *parts)
            for group in self.optimizer.param_groups:  # of a state that may be an older one's
                group["fused"] = self.fused
            self.epoch, self.step = saved["epoch"], saved["step"]
            self.loss.copy_(saved["loss"])
            self.seconds, self.history = saved["seconds"], saved["history"]
            self.clustered_at, self.figures = saved["clustered_at"], saved["figures"]
            if saved["labels"] is not None:
                self.labels = saved["labels"].numpy().astype(np.int64)
            if self.world.first and self.epoch < self.recipe.epochs:
                where = position(self.epoch, self.recipe.epochs, self.step)
                say(f"{self.settings.name}: continues at {where}")
        if distributed.broadcast_object((self.epoch, self.step)) != (self.epoch, self.step):
            raise RuntimeError(f"the processes read different versions of {self.settings.state}")
