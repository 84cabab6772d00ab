"""The features of all images, in one file, each process its stripe of rows."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.images.batches import Images
from benchmarks.images.transforms import Transform, build_transform
from pretrain.deepcluster.clusters import feature_file
from pretrain.deepcluster.clusters.feature_file import Precision
from pretrain.deepcluster.model import DeepClusterNet
from pretrain.deepcluster.recipes import Recipe
from pretrain.deepcluster.settings import Settings
from slurm import distributed
from slurm.distributed import World
from slurm.errors import UserError
from slurm.progress import progress
from slurm.stop import Stopped, stop_requested
from slurm.tasks.voting import Votes

TRAIN, EXTRACT = 0, 1  # the transforms of a run's images


def transforms_of(recipe: Recipe) -> list[Transform]:
    """Those at `TRAIN` and `EXTRACT`."""
    fast = recipe.decode == "fast"
    return [
        build_transform(spec, recipe.mean, recipe.std, fast=fast)
        for spec in (recipe.train, recipe.extract)
    ]


def extract(
    net: DeepClusterNet,
    images: Images,
    settings: Settings,
    *,
    batch_size: int,  # of all processes together
    precision: Precision,  # of what is kept
    world: World,
    device: torch.device,
) -> Path:
    """Write what is clustered, (N, net.width), and return the file, in every process.

    The trunk is in evaluation mode. Raises `Stopped` when a stop is asked for,
    and `UserError` for images that cannot be read and features that are too large for fp16, in all
    processes.
    """
    own = str(feature_file.feature_path(settings.state.parent))
    path = Path(str(distributed.broadcast_object(own)))
    count = images.count
    if world.first:
        feature_file.create(path, count, net.width, precision)
    distributed.barrier()
    # Each process has the BatchNorm statistics of its own batches; rank 0's are the ones kept.
    for buffer in net.buffers():
        distributed.broadcast(buffer)
    first, last = feature_file.stripe(count, world.rank, world.size)
    mistakes: list[UserError] = []
    size = batch_size // world.size
    # Nothing in it is random.
    batches = images.batches(EXTRACT, 0, np.arange(first, last), size, mistakes=mistakes)
    votes, common = Votes(device), count // world.size // size  # batches that all processes have
    net.eval()
    bar = progress(
        desc=f"{settings.key}: features", total=last - first, unit="img", disable=not world.first
    )
    try:
        with bar, feature_file.RowWriter(path, first) as rows, torch.inference_mode():
            for number, (pixels, _) in enumerate(batches):
                with torch.autocast(device.type, enabled=settings.amp):
                    features = net.features(pixels)
                try:
                    rows.write(features.float().cpu().numpy())
                except UserError as mistake:
                    mistakes.append(mistake)
                bar.update(len(pixels))
                if number < common and votes.agree(bool(mistakes or stop_requested())):
                    break
        distributed.raise_together(mistakes)
        if distributed.any_true(stop_requested(), device):
            raise Stopped(f"{settings.key}: stopped while extracting features")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
