"""A probe in two processes of torchrun, one of which is told to stop: `probe_ranks.py ZOO DATA`."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.probes import stream, training
from benchmarks.probes.item import probe_item
from benchmarks.protocols import ImageTransform
from slurm.distributed import find_world
from slurm.stop import Stopped

ROOT = Path(__file__).parents[3]
PLAIN = ImageTransform(crop=32, resize=32)
PROTOCOL = replace(
    IMAGENET_LINEAR,
    name="test_mhead",
    train=PLAIN,
    test=PLAIN,
    epochs=2,
    milestones=(1,),
    batch_size=20,
    pooled_size=512,
)


def main(zoo: Path, data: Path) -> None:
    """The first process is slow to save; the other one is told to stop when it evaluates."""
    from tests.benchmarks.voc_data import make_trunk

    item = probe_item(make_trunk(zoo, "random:resnet18"), data, PROTOCOL)
    write, evaluate = training.write_tensors, stream.Stream._evaluate
    told = []

    def write_slowly(*words: Any) -> None:
        time.sleep(2)
        write(*words)

    def evaluate_when_told(run: stream.Stream, *words: Any) -> None:
        told.append(not find_world().first)
        evaluate(run, *words)

    training.write_tensors = write_slowly
    stream.Stream._evaluate = evaluate_when_told  # type: ignore[method-assign]
    stream.stop_requested = lambda: any(told)
    try:
        item.run()
    except Stopped as stopped:
        there = "the state is there" if item.state.exists() else "the state is not there"
        sys.stdout.write(f"{stopped}; {there}.\n")  # in one piece


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
