"""PIL's way from RGB to HSV and back, as tables: what `adjust_hue` does to images of 8 bits.

Each number in it depends on two bytes at most, so that all can be written down once, in the very
steps of float32 and float64 that PIL takes (libImaging/Convert.c), and looked up on any device.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SPREADS = 256  # of the highest channel over the lowest
_DIFFERENCES = 511  # of the other two channels, -255..255


def turn_hue(pixels: Tensor, turns: Tensor) -> None:
    """Turn the hue of `pixels` (N, 3, H, W), whole float32 numbers 0..255, in place.

    `turns` is (N, 1, 1), whole numbers 0..255 that are added to PIL's hue of 8 bits, modulo 256.
    """
    hues, saturations, shares = hue_tables(pixels.device)
    red, green, blue = pixels.int().unbind(1)
    highest = torch.maximum(torch.maximum(red, green), blue)
    spread = highest - torch.minimum(torch.minimum(red, green), blue)
    # 1 where red is not highest, 1 where green is neither; masks and `where` take twice as long.
    not_red = (highest - red).clamp_(max=1)
    nor_green = (highest - green).clamp_(max=1).mul_(not_red)
    rest = green - blue
    next_rest = blue - red
    difference = rest + (next_rest - rest).mul_(not_red)
    difference += (red - green).sub_(next_rest).mul_(nor_green)
    sector = not_red.add_(nor_green).mul_(_SPREADS).add_(spread)
    hue = _at(hues, sector.mul_(_DIFFERENCES).add_(difference).add_(255))
    saturation = _at(saturations, spread.add_(highest, alpha=256))
    hue += turns.to(torch.uint8)  # beyond 255 it begins anew
    turned = hue.int().mul_(256).add_(saturation)
    highest_float = highest.double()
    for channel, share in enumerate(shares):
        pixels[:, channel] = _at(share, turned).mul_(highest_float).add_(0.5).floor_()


def _at(table: Tensor, places: Tensor) -> Tensor:
    """What stands in a table at each of `places`, any shape."""
    return table.index_select(0, places.view(-1)).view(places.shape)


@lru_cache(maxsize=8)
def hue_tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Hue by channels, saturation by highest and spread, and what of the highest each channel has.

    uint8 (3 * 256 * 511,), uint8 (256 * 256,), and float64 (3, 256 * 256) by hue and saturation.
    """
    tables = (_hues(), _saturations(), _shares())
    found = [torch.from_numpy(table).to(device) for table in tables]
    return found[0], found[1], found[2]


def _hues() -> NDArray[np.uint8]:
    """By which channel is highest (red first), the spread, and the difference of the others.

    The difference is green - blue, blue - red or red - green.
    """
    spread = np.arange(_SPREADS)[:, None].astype(np.float32)
    difference = np.arange(-255, 256)[None].astype(np.float32)
    # Distances of the two others from the highest, as shares of the spread; one of them is lowest.
    with np.errstate(divide="ignore", invalid="ignore"):  # of greys, which are set below
        middle = np.nan_to_num((spread - np.abs(difference)) / spread, posinf=0, neginf=0)
    first = np.where(difference > 0, np.float32(1), middle)  # is the lowest where it is below
    second = np.where(difference > 0, middle, np.float32(1))
    found = []
    for offset in (0.0, 2.0, 4.0):
        raw = (offset + first.astype(np.float64) - second).astype(np.float32)
        turns = np.fmod(raw.astype(np.float64) / 6.0 + 1.0, 1.0).astype(np.float32)
        found.append(np.trunc(turns.astype(np.float64) * 255.0))
    hues = np.stack(found)
    hues[:, 0] = 0.0  # of greys
    return hues.clip(0, 255).astype(np.uint8).ravel()


def _saturations() -> NDArray[np.uint8]:
    highest = np.arange(256)[:, None].astype(np.float32)
    spread = np.arange(_SPREADS)[None].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (spread / highest).astype(np.float64) * 255.0
    return np.nan_to_num(np.trunc(share), posinf=0.0).clip(0, 255).astype(np.uint8).ravel()


def _shares() -> NDArray[np.float64]:
    """What each channel is of the highest, by hue and saturation; PIL rounds the products."""
    hue = np.arange(256)[:, None].astype(np.float64)
    saturation = (np.arange(256)[None] / 255.0).astype(np.float32).astype(np.float64)
    sector = np.floor(hue * 6.0 / 255.0)
    part = (hue * 6.0 / 255.0 - sector).astype(np.float32)
    low = 1.0 - saturation + 0.0 * hue
    falling = 1.0 - (saturation.astype(np.float32) * part).astype(np.float64)
    rising = 1.0 - saturation * (1.0 - part.astype(np.float64))
    full = np.ones_like(low)
    orders = (
        (full, rising, low),
        (falling, full, low),
        (low, full, rising),
        (low, falling, full),
        (rising, low, full),
        (full, low, falling),
    )
    shares = np.empty((3, 256, 256))
    for number, order in enumerate(orders):
        rows = sector[:, 0] % 6 == number
        for channel, share in enumerate(order):
            shares[channel, rows] = share[rows]
    shares[:, :, 0] = 1.0  # greys stay as they are
    return shares.reshape(3, -1)
