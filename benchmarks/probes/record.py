"""The result record of a linear probe."""

from collections.abc import Sequence

import msgspec
import numpy as np
import torch

from benchmarks import results
from benchmarks.devices import precision_on
from benchmarks.images.checking import check_notes
from benchmarks.probes.optimization import evaluated_epochs
from benchmarks.protocols import LinearProtocol
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
) -> results.ProbeRecord:
    """The figures of the last epoch, the best epoch beside them.

    `splits` are train and val; `history` is by evaluated epoch; `notes` are those of the dataset,
    `outcomes` is the fingerprint of the file beside the record, `made` says from what and at what
    cost.
    """
    evaluated = evaluated_epochs(protocol)
    said = [*trunk.notes, *notes, *([f"{processes} processes"] if processes > 1 else [])]
    precision = precision_on(device, trunk.precision)
    said += ["half-precision forward"] if precision == "amp" else []
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
        **results.environment(),
    )


def _head(tap: str, history: Sequence[Scores], evaluated: Sequence[int]) -> results.Head:
    top1 = [scores[tap][0] for scores in history]
    best = int(np.argmax(top1))
    last = history[-1][tap]
    return results.Head(last[0], last[1], top1[best], evaluated[best], tuple(top1))
