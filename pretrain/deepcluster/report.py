"""What a run says of each epoch: a line, and the history as a log."""

from pathlib import Path
from typing import Any

import msgspec

from slurm.files import write_bytes
from slurm.progress import clock, time_line

History = dict[str, list[Any]]


def epoch_line(history: History, epochs: int) -> str:
    """The last epoch in one line: loss, NMI, cluster sizes, time and what is left."""
    last = {name: values[-1] for name, values in history.items()}
    nmi = [
        f"{last[name]:.3f} against {what}"
        for name, what in (("nmi_previous", "the previous clusters"), ("nmi_labels", "labels"))
        if last[name] is not None
    ]
    done = len(history["loss"])
    pace = time_line(sum(history["seconds"]), done, epochs)
    return (
        f"epoch {done}/{epochs} | loss {last['loss']:.4f} | NMI {', '.join(nmi) or '-'} | "
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
