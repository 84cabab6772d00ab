"""A command with the common flags whose sweep is a list of test items.

python -m tests.slurm.real.program SUITE FOLDER --zoo ZOO --cluster slurm ...
"""

import time
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from slurm.cli import Parser, add_common_flags, run_command
from slurm.executor import dry_run, launch_from, run_sweep
from slurm.files import write_text
from slurm.stop import Stopped, polite_stop, stop_requested
from slurm.sweep import Item, Resources
from tests.slurm.items import Broken, Killed, Misused, Number, Shows, Steps, note_start


@dataclass(frozen=True)
class Together(Number):
    """Sums the ranks of all processes of a distributed task."""

    def run(self) -> None:
        import torch

        from slurm.distributed import find_world, mean, process_group

        world = find_world()
        with process_group(world, torch.device("cpu")):
            total = mean(torch.tensor([float(world.rank)])) * world.size
            size = world.size
        if world.first:
            note_start(self.result)
            self.result.with_suffix(".world").write_text(f"{size} {total.item():.0f}")
            super().run()


@dataclass(frozen=True)
class TogetherSteps(Steps):
    """Resumable steps that several processes take together; rank 0 needs long to save."""

    saving: float = 8.0  # seconds: more than the KillWait of the cluster

    def run(self) -> None:
        import torch

        from slurm.distributed import any_true, broadcast_object, find_world, process_group

        world, cpu = find_world(), torch.device("cpu")
        step, value = 0, self.name
        if self.state.exists():
            saved, value = self.state.read_text().split()
            step = int(saved)
        if world.first:
            note_start(self.result)
            with self.result.with_suffix(".from").open("a") as file:
                file.write(f"{step}\n")
        with polite_stop(), process_group(world, cpu):
            assert broadcast_object((step, value)) == (step, value)
            while step < self.count:
                time.sleep(self.pause)
                step, value = step + 1, sha256(value.encode()).hexdigest()
                stops = any_true(stop_requested(), cpu)
                if world.first and (stops or step % 10 == 0):
                    time.sleep(self.saving if stops else 0)
                    write_text(self.state, f"{step} {value}")
                if stops:
                    raise Stopped(f"{self.key} saved after step {step}")
        if world.first:
            write_text(self.result, value)


def chain(folder: Path, seconds: float = 0.0) -> list[Item]:
    """Three features, two fits on each, and a table of all: arrays with dependencies."""
    features = [Number(folder, f"features{i}", stage="extract", seconds=seconds) for i in range(3)]
    fits = [
        Number(folder, f"fit{i}{j}", (features[i],), stage="fit", seconds=seconds)
        for i in range(3)
        for j in range(2)
    ]
    return [Number(folder, "table", tuple(fits), stage="table")]


def steps(folder: Path, number: int, count: int, pause: float, minutes: int = 5) -> list[Item]:
    """Resumable items."""
    resources = Resources(minutes=minutes, resumable=True)
    return [
        Steps(folder, f"steps{i}", stage="probe", count=count, pause=pause, resources=resources)
        for i in range(number)
    ]


def suite(name: str, folder: Path, pace: float = 1.0) -> list[Item]:
    """The goals named `name`; `pace` scales how long they sleep, not what they leave."""
    gpu = Resources(gpus=1, minutes=5, distributed=True)
    broken = Broken(folder, "broken", stage="extract")
    suites: dict[str, list[Item]] = {
        "chain": chain(folder),
        "slow-chain": chain(folder, 3.0 * pace),
        "noop": [Number(folder, f"n{i}") for i in range(200)],
        "many": [Number(folder, f"n{i}") for i in range(45)],
        "killed": [Killed(folder, "killed"), Number(folder, "other")],
        "doomed": [Killed(folder, "doomed", times=99)],
        "broken": [Number(folder, "blocked", (broken,)), *chain(folder)],
        "misused": [Misused(folder, f"misused{i}") for i in range(2)],
        "steps": steps(folder, 2, count=150, pause=0.1 * pace),
        "full": steps(folder, 6, count=200, pause=0.1 * pace),
        "limited": steps(folder, 1, count=45, pause=1.0 * pace, minutes=1),
        "endless": [Number(folder, "endless", seconds=600, resources=Resources(minutes=1))],
        "shows": [Shows(folder, "shows", resources=gpu)],
        "together-steps": [
            TogetherSteps(
                folder,
                "steps0",
                count=100,
                pause=0.1 * pace,
                resources=replace(gpu, resumable=True),
            )
        ],
        "together": [Together(folder, "together", resources=gpu)],
    }
    return suites[name]


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m tests.slurm.real.program", description=__doc__ or "")
    parser.add_argument("suite")
    parser.add_argument("folder", type=Path)
    add_common_flags(parser)
    args = parser.parse_args(argv)
    goals = suite(args.suite, args.folder)
    if args.dry_run:
        dry_run(goals, launch_from(args), args.json)
        return
    run_sweep(goals, launch_from(args))


if __name__ == "__main__":
    run_command(main)
