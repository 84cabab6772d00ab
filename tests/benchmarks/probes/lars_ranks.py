"""Probes in the processes of torchrun, which leave their heads: `lars_ranks.py ZOO DATA`."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL_LARS
from benchmarks.probes import training
from benchmarks.probes.groups import Together
from benchmarks.probes.item import Probe, probe_item
from benchmarks.protocols import ImageTransform, LinearProtocol

ROOT = Path(__file__).parents[3]
PLAIN = ImageTransform(crop=32, resize=32)
SHIFT = ImageTransform(crop=32, resize=36, random_crop=36, flip=True)
PROTOCOL = replace(
    IMAGENET_AVGPOOL_LARS,
    name="test_lars",
    train=PLAIN,
    test=PLAIN,
    epochs=5,
    batch_size=20,
    evaluate_every=2,
)
ATTENTIVE = replace(
    PROTOCOL, name="test_attentive", taps="positions", queries=(1, 4), batch_norm="plain"
)


def make_item(zoo: Path, data: Path, protocol: LinearProtocol = PROTOCOL) -> Probe:
    """The probe of a random ResNet-18."""
    from tests.benchmarks.voc_data import make_trunk

    return probe_item(make_trunk(zoo, "random:resnet18", seed=3), data, protocol)


def main(zoo: Path, data: Path) -> None:
    """Run the probes; the first process leaves `PROTOCOL.pt` in the zoo."""
    end_epoch = training.ProbeRun.end_epoch

    def end_and_keep(run: training.ProbeRun) -> None:
        end_epoch(run)
        if run.rank == 0 and run.done:
            torch.save(run.heads.state_dict(), zoo / f"{run.protocol.name}.pt")

    training.ProbeRun.end_epoch = end_and_keep  # type: ignore[method-assign]
    Together((make_item(zoo, data), make_item(zoo, data, ATTENTIVE))).run()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
