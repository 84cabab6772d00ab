"""What a sweep asks of a cluster, stage by stage: checked before anything is submitted."""

from collections.abc import Sequence
from dataclasses import replace

from slurm.cli import choose
from slurm.errors import UserError
from slurm.launch.submission import sbatch_options
from slurm.runs import Manifest
from slurm.scheduler.commands import Scheduler
from slurm.scheduler.settings import MOST, ClusterSettings, Request, request_for
from slurm.sweep import Stage


def check_requests(
    scheduler: Scheduler, settings: ClusterSettings, stages: Sequence[Stage]
) -> list[Request]:
    """What each stage asks of the cluster; `UserError` for what the cluster would refuse."""
    partitions, default = scheduler.partitions(), scheduler.default_partition()
    anywhere = max((partition.gpus for partition in partitions.values()), default=0)
    requests = []
    for stage in stages:
        named = request_for(settings, stage.name, stage.resources, 0).settings.partition
        for name in named.split(",") if named is not None else ():
            choose(name, partitions, "partition")
        names = named.split(",") if named else [default] if default in partitions else []
        chosen = [partitions[name] for name in names] or list(partitions.values())
        most = max((partition.gpus for partition in chosen), default=0)
        request = request_for(settings, stage.name, stage.resources, most)
        given = (request.settings.gpus_per_node or 0) if stage.resources.gpus else 0
        if request.gpus_per_node > most or given > anywhere:
            raise UserError(
                f"stage {stage.name} asks for {given} GPUs per node, but no node of "
                f"{named or default or 'the cluster'} has more than {most}; lower --gpus-per-node"
            )
        limits = [part.minutes for part in chosen if part.minutes is not None]
        if limits and len(limits) == len(chosen):
            request = _limited(request, stage.name, max(limits), named or default or "the cluster")
        requests.append(request)
    for text in {tuple(_flags(request)): None for request in requests}:
        refusal = scheduler.refusal(list(text))
        if refusal:
            raise UserError(f"SLURM would refuse {' '.join(text)}: {refusal}")
    return requests


def describe_requests(settings: ClusterSettings, stages: Sequence[Stage]) -> str:
    """What `--dry-run` prints of SLURM: what each stage will ask for, a line each.

    SLURM is not asked, so GPUs are shown as if the nodes had them.
    """
    lines = ["asked of SLURM for each task (GPUs where the nodes have some):"]
    hours = 0.0
    for stage in stages:
        request = request_for(settings, stage.name, stage.resources, MOST["gpus_per_node"])
        tasks = f"{len(stage.items)} task(s), at most {request.settings.array_parallelism} at once"
        lines.append(f"  {stage.name}: {tasks}: {' '.join(_flags(request))}")
        gpus = request.nodes * request.gpus_per_node
        hours += len(stage.items) * gpus * request.minutes / 60
    count = sum(len(stage.items) for stage in stages)
    lines += [
        f"in all {count} task(s), and {hours:,.0f} GPU-hours if each took all of its time",
        "not asked: SLURM itself, whether it has these partitions, accounts and GPUs, its limits",
    ]
    return "\n".join(lines)


def renewed(
    manifest: Manifest, stages: Sequence[Stage], requests: Sequence[Request]
) -> list[Request]:
    """What the stages of a run shall ask for, given the `requests` of those still missing."""
    now = {(s.name, s.resources): request for s, request in zip(stages, requests, strict=True)}
    return [
        now.get((stage.name, stage.resources), before)
        for stage, before in zip(manifest.stages, manifest.requests, strict=True)
    ]


def describe_changes(manifest: Manifest, requests: Sequence[Request]) -> list[str]:
    """A line for each stage of a run that asked for something else than `requests`."""
    asked = zip(manifest.stages, manifest.requests, requests, strict=True)
    return [
        f"{stage.name}: tasks that are submitted from now on ask for {' '.join(_flags(request))}, "
        f"at most {request.settings.array_parallelism} at once; those in the queue stay as they are"
        for stage, before, request in asked
        if request != before
    ]


def _limited(request: Request, stage: str, minutes: int, where: str) -> Request:
    """`request` within the longest limit of its partitions; `UserError` if more was asked for."""
    if request.settings.time is not None and request.minutes > minutes:
        raise UserError(
            f"stage {stage} asks for {request.minutes} minutes, but {where} allows no more than "
            f"{minutes}; lower --time"
        )
    return replace(request, minutes=min(request.minutes, minutes))


def _flags(request: Request) -> list[str]:
    """The options of sbatch that can be refused."""
    return [
        f"--{key}" if value is True else f"--{key}={value}"
        for key, value in sbatch_options(request).items()
    ]
