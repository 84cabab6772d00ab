"""The k nearest rows of many by cosine, exact, by blocks: memory does not grow with their number.

Of two rows that are equally near, by the cosine in fp32, the earlier one comes first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANK_ROWS = 8192  # of a block of those that answer
QUERY_ROWS = 2048  # of a block of those that ask
WHOLE = 64  # rows; in the remainder of a product equal rows need not have equal cosines


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of each query, the nearest first."""

    cosines: Tensor  # (Q, k) fp32
    rows: Tensor  # (Q, k) int64


def nearest(
    bank: "NDArray[Any] | Tensor",
    queries: "NDArray[Any] | Tensor",
    k: int,
    device: torch.device,
    tick: Callable[[int], object] = lambda count: None,
) -> Neighbours:
    """The `k` rows of `bank` (N, D) nearest to each of `queries` (Q, D), on the device.

    Arrays may be memory-mapped, of any floating point. `ValueError` when N < k. `tick` is told how
    many rows of the bank all queries have seen.
    """
    if k > len(bank):
        raise ValueError(f"{k} neighbours of {len(bank)} rows")
    asked = _filled(_unit(queries, 0, len(queries), device))
    cosines = torch.full((len(asked), k), -torch.inf, device=device)
    rows = torch.zeros((len(asked), k), dtype=torch.int64, device=device)
    for first in range(0, len(bank), BANK_ROWS):
        block = _unit(bank, first, first + BANK_ROWS, device)
        filled = _filled(block).T
        for start in range(0, len(asked), QUERY_ROWS):
            here = slice(start, start + QUERY_ROWS)
            near, places = highest((asked[here] @ filled)[:, : len(block)], k)
            cosines[here], rows[here] = _merged(
                (cosines[here], rows[here]), (near, places + first), k
            )
        tick(len(block))
    return Neighbours(cosines[: len(queries)], rows[: len(queries)])


def _filled(rows: Tensor) -> Tensor:
    """With rows of zeros behind them, up to a whole number of `WHOLE`."""
    return F.pad(rows, (0, 0, 0, -len(rows) % WHOLE)) if len(rows) % WHOLE else rows


def highest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` highest of each row (all, if there are fewer) and their places, the highest first.

    Equal values come in the order of their places, at the border too, where `topk` may take any.
    """
    width = values.shape[1]
    taken = min(k + 1, width)  # one more tells where a row is cut between equals
    found, places = values.topk(taken, dim=1)
    if taken > k:
        cut = torch.nonzero(found[:, k - 1] == found[:, k])[:, 0]
        found, places = found[:, :k], places[:, :k]
        if len(cut):
            sorted_values, order = values[cut].sort(dim=1, descending=True, stable=True)
            found[cut], places[cut] = sorted_values[:, :k], order[:, :k]
    return _in_order(found, places)


def _in_order(values: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Both by descending value, equals by place; the values are descending already."""
    unordered = (values[:, 1:] == values[:, :-1]) & (places[:, 1:] < places[:, :-1])
    rows = torch.nonzero(unordered.any(1))[:, 0]
    if len(rows):
        by_place, order = places[rows].sort(dim=1)
        again, back = values[rows].gather(1, order).sort(dim=1, descending=True, stable=True)
        values[rows], places[rows] = again, by_place.gather(1, back)
    return values, places


def _merged(
    old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], k: int
) -> tuple[Tensor, Tensor]:
    """The `k` highest of both; all of `old` come from earlier rows than those of `new`."""
    values = torch.cat([old[0], new[0]], 1)
    places = torch.cat([old[1], new[1]], 1)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return values[:, :k], places.gather(1, order[:, :k])


def _unit(rows: "NDArray[Any] | Tensor", first: int, last: int, device: torch.device) -> Tensor:
    """Some rows, fp32 on the device, of unit length."""
    part: Any = rows[first:last]
    block = part if isinstance(part, Tensor) else torch.from_numpy(part.astype("float32"))
    return F.normalize(block.to(device).float())
