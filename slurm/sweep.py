"""A sweep: items of work that each leave one result file, and the order in which they can run.

An item is done when its own result file exists and is whole; nothing else is trusted. A sweep is
named by its goals: what the goals need is found by walking `needs`, and what is needed only by
finished items is never computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from slurm.files import file_mark


@dataclass(frozen=True)
class Resources:
    """What one item asks of a machine; SLURM reads it, the other back ends run one process."""

    gpus: int = 0  # per node
    nodes: int = 1
    tasks_per_node: int = 1  # processes per node: one per GPU for distributed training
    minutes: int = 240
    distributed: bool = False  # can run as several processes: --gpus-per-node and --nodes scale it
    # Saves on SIGUSR2 and now and then, and continues (see slurm.stop). The item's `state: Path`,
    # if it has one, is the file that it saves to: by it a launcher sees that there is progress.
    resumable: bool = False


class Item(Protocol):
    """One unit of work: a frozen, picklable dataclass defined at module level.

    `run` computes and atomically writes the result. It may be run twice, even at the same time,
    and must leave the same bytes.
    """

    @property
    def stage(self) -> str:
        """What kind of work this is; the items of a stage make one job array."""

    @property
    def key(self) -> str:
        """A unique, readable name, such as `resnet50/voc07_svm/feature5`."""

    @property
    def needs(self) -> tuple["Item", ...]:
        """Items whose results `run` reads."""

    @property
    def resources(self) -> Resources:
        """What a process that runs this needs."""

    def done(self) -> bool:
        """Whether the result file is there and whole (cheap: 60,000 of these are asked at once)."""

    def run(self) -> None:
        """Compute and write the result."""

    # Items with an equal `shares: str` keep something in memory for one another: one process runs
    # them in a row.

    # A distributed goal whose processes must share each batch equally has `batch: int`, the images
    # of one: a number of processes that cannot is refused before anything runs.


@dataclass(frozen=True)
class Stage:
    """Missing items that can run side by side once the stages before are finished."""

    name: str
    resources: Resources
    items: tuple[Item, ...] = field(repr=False)


def missing_stages(goals: Sequence[Item]) -> list[Stage]:
    """The stages to run, in order, so that all `goals` are done; empty when they are."""
    groups: dict[tuple[int, str, Resources], list[Item]] = {}
    for depth, item in _missing(goals):
        groups.setdefault((depth, item.stage, item.resources), []).append(item)
    return [
        Stage(name, resources, tuple(members))
        for (_, name, resources), members in sorted(groups.items(), key=lambda group: group[0][:2])
    ]


def _missing(goals: Sequence[Item]) -> list[tuple[int, Item]]:
    """The items to run, each with the number of stages before it."""
    depth: dict[str, int] = {}
    items: dict[str, Item] = {}

    def visit(item: Item) -> int:
        """Number of stages before `item`, or -1 when it is done already."""
        key = item.key
        if key not in depth:
            if item.done():
                depth[key] = -1
            else:
                depth[key] = 1 + max([visit(need) for need in item.needs], default=-1)
                items[key] = item
        return depth[key]

    for goal in goals:
        visit(goal)
    return [(depth[key], item) for key, item in items.items()]


class MissingInput(RuntimeError):
    """An item was started before the result of another one that it needs was there."""


def run_item(item: Item) -> None:
    """Run `item` unless it is done; what it needs must be there, and its result must be left."""
    if must_run(item):
        item.run()
        check_result(item)


def must_run(item: Item) -> bool:
    """Whether `item` is not done; `MissingInput` when it cannot run yet."""
    if item.done():
        return False
    for need in item.needs:
        if not need.done():
            raise MissingInput(f"{item.key} needs the result of {need.key}, which is missing")
    return True


def check_result(item: Item) -> None:
    """Raise unless `item`, which ran, left its result."""
    if not item.done():
        raise RuntimeError(f"{item.key} ran but left no valid result")


def progress_mark(item: Item) -> object:
    """What changes whenever a resumable item saves its progress; None if it has no `state`."""
    state: Path | None = getattr(item, "state", None) if item.resources.resumable else None
    return file_mark(state) if state else None


def items_to_run(goals: Sequence[Item]) -> list[Item]:
    """The items to run in one list, each after those that it needs, and those that share in a row.

    Stages follow one another but for that, as `missing_stages` has them.
    """
    ordered = sorted(_missing(goals), key=lambda one: (one[0], one[1].stage))
    rows: dict[tuple[int, str], list[Item]] = {}
    for depth, item in ordered:
        rows.setdefault((depth, getattr(item, "shares", item.stage)), []).append(item)
    return [item for row in rows.values() for item in row]


def all_items(goals: Sequence[Item]) -> dict[str, Item]:
    """`goals` and all that they need, done or not, by key."""
    found: dict[str, Item] = {}
    waiting = list(goals)
    while waiting:
        item = waiting.pop()
        if item.key not in found:
            found[item.key] = item
            waiting += item.needs
    return found


def describe(goals: Sequence[Item], stages: Sequence[Stage] | None = None) -> str:
    """What `--dry-run` prints: each stage with its missing items, or that all is done.

    `stages` are the missing ones, where they are known already.
    """
    stages = missing_stages(goals) if stages is None else stages
    results = [part for goal in goals for part in parts_of(goal)]
    open_parts = _open_parts(goals, stages)
    done = sum(result.key not in open_parts for result in results)
    lines = [f"{done} of {len(results)} results are done"]
    for stage in stages:
        lines.append(f"{stage.name}: {len(stage.items)} to run")
        for item in stage.items[:20]:
            lines.append(f"  {item.key}")
            parts = [part.key for part in parts_of(item) if part.key in open_parts - {item.key}]
            lines += [f"    {key}" for key in parts]
        if len(stage.items) > 20:
            lines.append(f"  ... and {len(stage.items) - 20} more")
    return "\n".join(lines)


def planned(goals: Sequence[Item], stages: Sequence[Stage]) -> dict[str, object]:
    """What `--dry-run --json` writes: the results that are asked for, and what would run."""
    open_parts = _open_parts(goals, stages)
    results = [
        {
            "key": part.key,
            "path": str(part.result) if hasattr(part, "result") else None,
            "done": part.key not in open_parts,
        }
        for goal in goals
        for part in parts_of(goal)
    ]
    missing = [
        {"stage": stage.name, "items": [item.key for item in stage.items]} for stage in stages
    ]
    return {"dry_run": True, "results": results, "stages": missing}


def _open_parts(goals: Sequence[Item], stages: Sequence[Stage]) -> set[str]:
    """The keys of the results that are not done, of `goals` of which `stages` are missing."""
    missing = {item.key for stage in stages for item in stage.items}
    return {
        part.key
        for goal in goals
        if goal.key in missing
        for part in parts_of(goal)
        if part is goal or not part.done()
    }


def parts_of(item: Item) -> tuple[Item, ...]:
    """The items, each with a result of its own, that `item` runs as one; itself, if it is one."""
    parts: tuple[Item, ...] = getattr(item, "parts", (item,))
    return parts
