"""What a run says of each epoch: a line, and the history as a log."""

import time
from pathlib import Path
from typing import Any

import msgspec

from slurm.files import write_bytes
from slurm.progress import clock, time_line

History = dict[str, list[Any]]

# What depends on the machine and the hour, and is in no card.
TIMES = (
    *("seconds", "seconds_features", "seconds_clustering", "seconds_probe"),
    *("images_per_second", "ended"),
)
# Of a clustering, and of no epoch that goes on with it.
_OF_CLUSTERING = (
    *("nmi_previous", "nmi_previous_arithmetic"),
    *("seconds_features", "seconds_clustering"),
)


def epoch_row(
    figures: dict[str, Any],
    *,
    clustered: bool,
    loss: float,
    rate: float,
    images: int,
    seconds: float,
) -> dict[str, Any]:
    """What the history says of one epoch: its loss, its clusters and its times.

    `figures` are of the clusters in use, which were made for this epoch or (not `clustered`) for
    one before; `seconds` are of the whole epoch, in which `images` were trained on.
    """
    figures = figures if clustered else figures | dict.fromkeys(_OF_CLUSTERING)
    phases = [figures.get(name) or 0.0 for name in ("seconds_features", "seconds_clustering")]
    training = seconds - sum(phases)
    return {
        "loss": loss,
        "learning_rate": rate,
        **figures,
        "seconds": seconds,
        "images_per_second": images / training if training > 0 else None,
        "ended": time.time(),
    }


def add_row(history: History, row: dict[str, Any]) -> None:
    """Append one epoch; a column that is new has nothing to say of those before, and so on."""
    epochs = len(history.get("loss", []))
    for name in {**history, **row}:
        history.setdefault(name, [None] * epochs).append(row.get(name))


def untimed(history: History) -> History:
    """The history without what another run of the same bits would have otherwise."""
    return {name: values for name, values in history.items() if name not in TIMES}


def processes_note(history: History) -> tuple[str, ...]:
    """One line if not all epochs were trained by equally many processes."""
    counts = dict.fromkeys(count for count in history.get("processes", []) if count is not None)
    if len(counts) < 2:
        return ()
    return (
        f"trained by {' and then '.join(map(str, counts))} processes, in each of which BatchNorm "
        "sees its share of a batch",
    )


def epoch_line(history: History, epochs: int) -> str:
    """The last epoch in one line: loss, NMI, k-NN, cluster sizes, time and what is left."""
    last = {name: values[-1] for name, values in history.items()}
    nmi = [
        f"{last[name]:.3f} against {what}"
        for name, what in (("nmi_previous", "the previous clusters"), ("nmi_labels", "labels"))
        if last[name] is not None
    ]
    top1 = last.get("knn_top1")
    probed = "" if top1 is None else f"k-NN {top1:.1f} % | "
    done = len(history["loss"])
    pace = time_line(sum(history["seconds"]), done, epochs)
    return (
        f"epoch {done}/{epochs} | loss {last['loss']:.4f} | NMI {', '.join(nmi) or '-'} | {probed}"
        f"clusters of {last['smallest']} .. {last['median']:g} .. {last['largest']} images, "
        f"{last['empty']} empty | {clock(last['seconds'])}, {pace}"
    )


def write_log(path: Path, history: History) -> None:
    """One JSON object per finished epoch; rewritten whole, so that no resume doubles a line."""
    epochs = range(len(history["loss"]))
    rows = [
        {"epoch": epoch + 1, **{name: values[epoch] for name, values in history.items()}}
        for epoch in epochs
    ]
    write_bytes(path, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
