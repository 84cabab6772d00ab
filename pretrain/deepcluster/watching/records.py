"""The files that say how a run goes: `zoo/logs/NAME/`, written by its first process.

`METHOD.jsonl`, a line an epoch; `tensorboard/`, the same as scalars; `clusters/`, which image
was in which cluster. All of them follow from the state: a run that continues writes them on.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.deepcluster.watching.assignments import assignments_folder, write_assignment
from pretrain.deepcluster.watching.history import History, write_log
from pretrain.deepcluster.watching.tensorboard import append_events, event_file, write_events


def record_start(log: Path, history: History) -> None:
    """The epochs so far: a run that was killed after it saved one had not written it here."""
    write_events(event_file(log), history)
    if history:
        write_log(log, history)


def record_clusters(log: Path, epoch: int, labels: NDArray[np.int64], clusters: int) -> None:
    """The clusters (N,) that `epoch`, counted from 1, is trained on."""
    write_assignment(assignments_folder(log), epoch, labels, clusters)


def record_epoch(log: Path, history: History) -> None:
    """The epoch that the history ends with."""
    write_log(log, history)
    append_events(event_file(log), history)
