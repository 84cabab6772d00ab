"""The result record of a linear probe."""

from collections.abc import Sequence

import msgspec
import numpy as np
import torch

from benchmarks import results
from benchmarks.devices import precision_on
from benchmarks.images.checking import check_notes
from benchmarks.probes.grid import Grid, name_of
from benchmarks.probes.optimization import evaluated_epochs
from benchmarks.protocols import LinearProtocol, Point
from benchmarks.results import Split
from benchmarks.trunks import Trunk

Scores = dict[str, tuple[float, float]]  # tap -> top-1, top-5 in percent


def probe_record(
    trunk: Trunk,
    protocol: LinearProtocol,
    splits: tuple[Split, Split],
    history: Sequence[Scores],
    *,
    processes: int,
    device: torch.device,
    started: str,
    seconds: float,
    notes: tuple[str, ...] = (),
    outcomes: str | None = None,
    made: results.Made | None = None,
    grid: Grid | None = None,
) -> results.ProbeRecord:
    """The figures of the last epoch, the best epoch beside them.

    `splits` are train and val; `history` is by evaluated epoch; `notes` are those of the dataset,
    `outcomes` is the fingerprint of the file beside the record, `made` says from what and at what
    cost; `grid` has the heads that were trained beside the protocol's own.
    """
    evaluated = evaluated_epochs(protocol)
    said = [*trunk.notes, *notes, *([f"{processes} processes"] if processes > 1 else [])]
    precision = precision_on(device, trunk.precision)
    said += [results.HALF] if precision == "amp" else []
    data = {"train": splits[0], "val": splits[1]}
    said += check_notes(trunk.zoo, protocol.dataset, data)
    return results.ProbeRecord(
        benchmark=protocol.benchmark,
        protocol=protocol.name,
        protocol_version=protocol.version,
        variant=protocol.variant,
        settings=msgspec.to_builtins(protocol) | ({"decode": "fast"} if trunk.fast else {}),
        checkpoint=trunk.checkpoint,
        data=data,
        seed=trunk.seed,
        device=str(device),
        threads=torch.get_num_threads(),
        started=started,
        seconds=seconds,
        notes=tuple(said),
        outcomes=outcomes,
        made=made,
        precision=precision,
        heads={tap: _head(tap, history, evaluated) for tap in history[-1]},
        epochs=protocol.epochs,
        evaluated=() if protocol.evaluate_every == 1 else evaluated,
        grid=_grid(protocol, history, grid, evaluated) if grid and grid.points else (),
        **results.environment(),
    )


def _head(name: str, history: Sequence[Scores], evaluated: Sequence[int]) -> results.Head:
    top1 = [scores[name][0] for scores in history]
    best = int(np.argmax(top1))
    (first, fifth), (best_top1, best_top5) = history[-1][name], history[best][name]
    return results.Head(first, fifth, best_top1, evaluated[best], tuple(top1), best_top5)


def _grid(
    protocol: LinearProtocol, history: Sequence[Scores], grid: Grid, evaluated: Sequence[int]
) -> tuple[results.GridPoint, ...]:
    """By learning rate, then weight decay; the protocol's own point among them."""
    taps = list(history[-1])
    own = Point(protocol.learning_rate, protocol.weight_decay)
    found = {own: results.GridPoint(*own, {tap: _head(tap, history, evaluated) for tap in taps})}
    for number, point in enumerate(grid.points):
        names = {tap: name_of(tap, number) for tap in taps}
        diverged = {
            tap: grid.diverged[name] for tap, name in names.items() if name in grid.diverged
        }
        heads = {
            tap: _head(name, grid.history, evaluated)
            for tap, name in names.items()
            if tap not in diverged
        }
        found[point] = results.GridPoint(*point, heads, diverged)
    return tuple(found[point] for point in sorted(found))
