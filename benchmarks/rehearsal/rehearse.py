"""All items that are still to run, each kind of work measured once."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.devices import resolve_device
from benchmarks.features.avgpool import ExtractAvgpool, ExtractTogether
from benchmarks.features.extraction import ExtractVoc
from benchmarks.knn.item import Knn
from benchmarks.logreg.item import Logreg
from benchmarks.probes.groups import Together
from benchmarks.probes.item import Probe
from benchmarks.rehearsal.extraction import Sample, extraction_row, pass_row
from benchmarks.rehearsal.features import Rows
from benchmarks.rehearsal.fits import fit_row
from benchmarks.rehearsal.neighbours import knn_row
from benchmarks.rehearsal.probes import probe_row
from benchmarks.rehearsal.regression import logreg_row
from benchmarks.rehearsal.report import Report, Row, hours_of, request_of, total_of
from benchmarks.svm.full_item import VocSvmLayer
from benchmarks.svm.low_shot_item import LowShot
from benchmarks.trunks import Trunk
from slurm.progress import say
from slurm.sweep import Item, items_to_run, parts_of
from slurm.threads import cores

COLLECTS = "collect"  # seconds, of no interest


class _Rehearsal:
    """What is known already: alike work has the figures of the first that was measured."""

    def __init__(self, seconds: float, folder: Path) -> None:
        self.seconds, self.folder = seconds, folder
        self.rows: dict[object, Row] = {}
        self.samples: dict[object, Sample] = {}
        self.pooled: dict[object, Rows] = {}  # by the kind of each extraction of a pass

    def row(self, items: Sequence[Item]) -> Row:
        """Of like parts."""
        item = items[-1]  # the largest k of the last layer
        kind = _kind(item)
        known = self.rows.get(kind)
        if known is not None:
            note = f"as {known.name}, which it is like"
            return msgspec.structs.replace(known, name=_name(items), notes=(*known.notes, note))
        say(f"rehearses {item.key}")
        row = self._measured(item, len(items))
        hours = hours_of(row)
        row = msgspec.structs.replace(row, name=_name(items), hours=hours)
        self.rows[kind] = row
        return row

    def _measured(self, item: Item, parts: int) -> Row:
        if isinstance(item, Probe | Together):
            limited = isinstance(item, Together) and item.limited
            probes = [one for one in parts_of(item) if isinstance(one, Probe) and not one.done()]
            return probe_row(probes, limited=limited, seconds=self.seconds, folder=self.folder)
        if isinstance(item, ExtractVoc):
            row, self.samples[_kind(item)] = extraction_row(item, self.seconds)
            return row
        if isinstance(item, ExtractAvgpool | ExtractTogether):
            parts_of_pass = _extractions(item)
            row, samples = pass_row(parts_of_pass, self.seconds)
            self.pooled |= {_kind(part): one for part, one in zip(parts_of_pass, samples)}
            return row
        if isinstance(item, Knn | Logreg):
            one = item.extraction
            sample = None if one.done() else self.pooled[_kind(one)]
            if isinstance(item, Knn):
                return knn_row(item, self.seconds, sample, self.folder)
            return logreg_row(item, self.seconds, sample, self.folder)
        assert isinstance(item, VocSvmLayer | LowShot)
        missing = [need for need in item.source.needs if not need.done()]
        return fit_row(item, parts, self.samples[_kind(missing[0])] if missing else None)


def rehearse(work: Sequence[Item], seconds: float) -> Report:
    """Measure what `work` still needs, an item for `seconds`; nothing is left in the zoo."""
    groups: dict[object, list[Item]] = {}
    for item in items_to_run(work):
        if item.stage != COLLECTS:
            groups.setdefault(_group(item), []).append(item)
    results = [part for goal in work for part in parts_of(goal)]
    done = sum(part.done() for part in results)
    trunks = [trunk for items in groups.values() for trunk in _trunks(items[0])]
    workers = max((trunk.workers for trunk in trunks), default=0)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        known = _Rehearsal(seconds, Path(folder))
        for items in groups.values():
            if _kind(items[0]) is None:
                rows.append(Row(name=_name(items), stage=items[0].stage, parts=len(items)))
                continue
            row = known.row(items)
            cpus = cores() if row.speeds is None else workers + 1  # a fit takes all there are
            task = (row.hours or 0.0) / row.parts
            request = None if row.at_least else request_of(task, row.host_gib, row.gpu_gib, cpus)
            rows.append(msgspec.structs.replace(row, request=request))
    return Report(
        device=_device_name(trunks[0].device if trunks else "auto"),
        cores=cores(),
        workers=workers,
        seconds=seconds,
        done=done,
        items=tuple(rows),
        total=total_of(
            rows, max([row.request.cpus_per_task for row in rows if row.request] or [1])
        ),
    )


def _group(item: Item) -> object:
    """Parts of one benchmark of one checkpoint are one row."""
    if isinstance(item, VocSvmLayer | LowShot):
        return (item.source.folder, item.protocol)
    return item.key


def _name(items: Sequence[Item]) -> str:
    item = items[0]
    if isinstance(item, VocSvmLayer | LowShot):
        protocol = item.protocol
        return f"{item.source.checkpoint.name}/{protocol.benchmark}/{protocol.name}"
    if isinstance(item, Together):
        probes = [part for part in item.parts if not part.done()]
        return f"{len(probes)} probes on {probes[0].protocol.dataset} together: {_names(probes)}"
    if isinstance(item, ExtractTogether):
        features = _extractions(item)
        return f"{len(features)} features of {features[0].dataset} together: {_names(features)}"
    return item.key


def _names(parts: Sequence[Probe] | Sequence[ExtractAvgpool]) -> str:
    return ", ".join(dict.fromkeys(part.trunk.checkpoint.name for part in parts))


def _extractions(item: Item) -> list[ExtractAvgpool]:
    """That are to be made."""
    return [one for one in parts_of(item) if isinstance(one, ExtractAvgpool) and not one.done()]


def _trunks(item: Item) -> list[Trunk]:
    """That pass images, or did."""
    return [
        part.trunk
        for one in parts_of(item)
        for part in (one, *one.needs)
        if isinstance(part, Probe | ExtractVoc | ExtractAvgpool | Knn | Logreg)
    ]


def _kind(item: Item) -> Any:
    """Equal for work that costs the same; None for what is not rehearsed."""
    if isinstance(item, Probe | Together):
        probes = [part for part in parts_of(item) if isinstance(part, Probe) and not part.done()]
        return ("probe", *((part.data, _shape(part.trunk), part.protocol) for part in probes))
    if isinstance(item, ExtractVoc):
        return ("extract", item.data, _shape(item.trunk), item.image, item.pooled_size)
    if isinstance(item, ExtractAvgpool):
        features = (item.dtype, item.feature)
        return ("features", item.data, _shape(item.trunk), item.image, *features)
    if isinstance(item, ExtractTogether):
        return ("features", *map(_kind, _extractions(item)))
    if isinstance(item, Knn | Logreg):
        return (item.stage, _kind(item.extraction), item.protocol)
    if isinstance(item, VocSvmLayer | LowShot):
        source = item.source
        of = source.checkpoint
        inputs = (of.arch, of.sobel) if of.arch else (source.features,)
        machine = (source.splits, source.layers, source.solver, source.device)
        return ("fit", item.protocol, *inputs, *machine)
    return None


def _shape(trunk: Trunk) -> tuple[object, ...]:
    """All of a trunk that its speed depends on."""
    of = trunk.checkpoint
    weights = () if of.arch else (of.weights,)
    return (of.arch, of.sobel, *weights, trunk.device, trunk.workers, trunk.precision, trunk.decode)


def _device_name(wanted: str) -> str:
    import torch

    device = resolve_device(wanted)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
