"""Features of a trunk in memory, which is left as it was: for looks at one that is training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from benchmarks.backbones.backbone import Backbone
from benchmarks.datasets.splits import ImageSplit
from benchmarks.devices import computing, precision_on
from benchmarks.features.choice import AVGPOOL
from benchmarks.features.pooled import pooled
from slurm.errors import UserError


def device_of(backbone: nn.Module) -> torch.device:
    """Where its first parameter or buffer lives; the CPU for a trunk without any."""
    first = next(chain(backbone.parameters(), backbone.buffers()), None)
    return torch.device("cpu") if first is None else first.device


@contextmanager
def _undisturbed(backbone: nn.Module, device: torch.device) -> Iterator[None]:
    """Within the block the trunk is in evaluation mode; afterwards every part is in its own.

    A part may be frozen in evaluation mode while others train: `train()` would wake it. Without
    gradients, but not in inference mode, whose tensors a trunk that keeps some (of positions) could
    not train with later.
    """
    modes = [(module, module.training) for module in backbone.modules()]
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            backbone.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def features_of(
    backbone: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    images: ImageSplit,
    feature: str,
    precision: str,
) -> Tensor:
    """(N, C) fp32 on the CPU, of all `images`, which come as `batches` of pixels and rows.

    The trunk, in evaluation mode meanwhile, gives a map (n, C, h, w), rows (n, C), or several by
    name or in order; see `pooled` for `feature`. `UserError` for what is no finite number.
    """
    device = device_of(backbone)
    with _undisturbed(backbone, device), computing(device, precision_on(device, precision)):
        return _joined(backbone, batches, images, feature)


def _joined(
    backbone: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    images: ImageSplit,
    feature: str,
) -> Tensor:
    found: Tensor | None = None
    for pixels, rows in batches:
        part = _rows_of(backbone, pixels, feature).cpu()
        bad = ~part.isfinite().all(1)
        if bool(bad.any()):
            path = images.root / images.paths[int(rows[bad][0])]
            raise UserError(f"the features are NaN or infinity for {path}")
        if found is None:
            found = torch.empty(len(images.paths), part.shape[1])
        found[rows] = part
    assert found is not None
    return found


def _rows_of(backbone: nn.Module, pixels: Tensor, feature: str) -> Tensor:
    """(n, C) fp32, of whatever the trunk gives."""
    if isinstance(backbone, Backbone):
        return pooled(backbone, pixels, feature)
    given = backbone(pixels)
    if isinstance(given, Mapping) and feature in given:
        given = given[feature]
    elif feature != AVGPOOL:
        raise UserError(f"the trunk has no feature {feature!r}; it gives {_described(given)}")
    if isinstance(given, Mapping):
        given = list(given.values())
    if isinstance(given, list | tuple) and given:
        given = given[-1]
    if not isinstance(given, Tensor) or given.ndim not in (2, 4) or len(given) != len(pixels):
        shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise UserError(
            f"of {len(pixels)} images the trunk gives {shape}, which is neither a map "
            "(N, C, h, w) nor rows (N, C)"
        )
    rows: Tensor = given.float()
    return rows.mean((2, 3)) if rows.ndim == 4 else rows


def _described(given: object) -> str:
    """What a trunk gives among which nothing has the name that is asked for."""
    if isinstance(given, Mapping):
        return f"maps named {', '.join(map(str, given))}"
    if isinstance(given, list | tuple):
        maps = "1 map" if len(given) == 1 else f"{len(given)} maps"
        return f"{maps} without names: return a dict"
    return "one tensor without a name: return a dict"
