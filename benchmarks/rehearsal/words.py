"""A rehearsal in words."""

from collections.abc import Iterator

from benchmarks.checkpoints.wording import shown
from benchmarks.rehearsal.report import HOUR, Report, Request, Row, Total
from slurm.progress import clock

LEGEND = """\
Measured: images/s of the loader alone, of trunk, heads and optimizer alone, and of both; memory; \
state files.
Arithmetic: hours = epochs x images / the lowest of the three + evaluations x their images / \
(images/s, estimated); features on disk.
~ estimated: SVMs, scaled from some classes of a layer; k-NN, from some queries and rows.
at least: logistic regressions, by one step of each fit, and sums that leave something out.
A request is for one task: half as much time again and 5 minutes, a quarter more memory and 1 GB."""


def lines_of(report: Report) -> Iterator[str]:
    """For people; every figure is also a field of the JSON."""
    if report.done:
        yield f"{report.done} results are done already and cost nothing"
    if not report.items:
        yield "nothing is left to run"
        return
    yield (
        f"rehearsed on {report.device}, {report.cores} cores, --workers {report.workers}, "
        f"up to {report.seconds:g} s an item"
    )
    for row in report.items:
        yield ""
        yield from _row(row)
    yield ""
    yield f"all, one after another: {_cost(report.total)}"
    if report.total.request is not None:
        yield f"  as one job: {_request(report.total.request)}"
    else:
        short = dict.fromkeys(
            one.stage for one in report.items if one.at_least or one.hours is None
        )
        yield f"  as one job: no request, since how long {' and '.join(short)} takes is not known"
    yield LEGEND


def _row(row: Row) -> Iterator[str]:
    many = f" ({row.parts} tasks)" if row.parts > 1 else ""
    yield f"{row.stage}: {shown(row.name, 400)}{many}"
    if row.hours is None:
        yield "  not rehearsed: no figures, and not in the sum"
        return
    yield f"  {_cost(row)}"
    if row.speeds is not None:
        speeds = row.speeds
        yield (
            f"  {speeds.images:,.1f} images/s; loader alone {speeds.loader:,.1f}, trunk alone "
            f"{speeds.trunk:,.1f}"
        )
        yield f"  {row.epochs} x {row.images:,} images" + (
            f", evaluated {row.evaluations} x on {row.test_images:,} at {speeds.test_images:,.1f}/s"
            if speeds.test_images is not None
            else ""
        )
    else:
        yield f"  {row.parts} x {_sign(row)}{clock(row.part_seconds or 0.0)}"
    yield from (f"  {note}" for note in row.notes)
    if row.at_least:
        yield "  a task: no request, since how long it takes is not known"
    if row.request is not None:
        yield f"  a task: {_request(row.request)}"


def _cost(row: Row | Total) -> str:
    hours = row.hours or 0.0
    gpu = "" if row.gpu_gib is None else f", {row.gpu_gib:.1f} GiB of GPU memory"
    return (
        f"{_sign(row)}{hours:.2f} h ({clock(hours * HOUR)}), {row.host_gib:.1f} GiB of memory"
        f"{gpu}, {row.disk_gib:.2f} GiB of disk"
    )


def _sign(row: Row | Total) -> str:
    if row.at_least:
        return "at least "
    return "~" if isinstance(row, Row) and row.speeds is None else ""


def _request(request: Request) -> str:
    hours, minutes = divmod(request.minutes, 60)
    gpus = f"--gpus={request.gpus} " if request.gpus else ""
    return (
        f"{gpus}--cpus-per-task={request.cpus_per_task} --mem={request.mem_gb}G "
        f"--time={hours}:{minutes:02d}:00"
    )
