"""The first layer's filters as a picture."""

import io
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.backbones.sobel import sobel_kernels
from slurm.errors import UserError

MOST = 256  # filters of a picture
SIDE = 72  # pixels of a filter, about
GAP = 4


def first_filters(tensors: dict[str, Tensor]) -> Tensor:
    """The weights (F, C, k, k) of the first convolution of a trunk, in the order of its layers."""
    for tensor in tensors.values():
        if tensor.ndim == 4 and tensor.shape[1] in (2, 3) and tensor.shape[2] > 1:
            return tensor.float()
    raise UserError("the trunk has no convolution of images whose filters could be drawn")


def on_grey(filters: Tensor) -> Tensor:
    """What filters (F, 2, k, k) behind the Sobel stem do to the grey image: (F, 1, k+2, k+2)."""
    kernels = sobel_kernels().to(filters)  # (2, 1, 3, 3)
    # Cross-correlation with one, then the other, is that with their convolution.
    return F.conv_transpose2d(filters, kernels)


def draw_filters(filters: Tensor) -> bytes:
    """PNG of the filters, each on its own scale; grey is zero.

    Of RGB (F, 3, k, k) in colour. Of the Sobel stem's two channels (F, 2, k, k) what they amount to
    on the grey image. The strongest come first.
    """
    strength = filters.flatten(1).norm(dim=1)
    filters = filters[strength.argsort(descending=True, stable=True)][:MOST]
    if filters.shape[1] == 2:
        filters = on_grey(filters)
    top = filters.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    pixels = (127.5 + 127.5 * filters / top).round().to(torch.uint8)
    tiles = pixels.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy()
    return encode(mosaic(tiles, columns=16 if len(tiles) > 100 else 8))


def mosaic(tiles: NDArray[np.uint8], *, columns: int) -> NDArray[np.uint8]:
    """Tiles (T, k, k, 3), enlarged without smoothing, in rows on white."""
    scale = max(1, round(SIDE / tiles.shape[1]))
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    side, rows = tiles.shape[1], ceil(len(tiles) / columns)
    step = side + GAP
    sheet = np.full((rows * step + GAP, columns * step + GAP, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = (GAP + step * place for place in divmod(number, columns))
        sheet[top : top + side, left : left + side] = tile
    return sheet


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """PNG of (H, W, 3)."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
