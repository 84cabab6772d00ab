"""The benchmarks and the suites: a literal line for each.

What a new one takes, here and elsewhere, is shown by example in CONTRIBUTING.md.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import linear_probe, low_shot_svm, protocols, voc_svm
from benchmarks.commands import Goal
from benchmarks.datasets.catalog import FOLDERS
from benchmarks.protocols import PROTOCOLS, Protocol
from benchmarks.trunks import Trunk
from slurm.errors import UserError

BENCHMARKS: dict[str, Callable[[Trunk, Path, Any], Goal]] = {
    "voc07_svm": voc_svm.voc_svm_item,
    "voc07_low_shot_svm": low_shot_svm.low_shot_item,
    "imagenet_linear": linear_probe.probe_item,
    "imagenet_avgpool": linear_probe.probe_item,
    "places205_linear": linear_probe.probe_item,
    "inaturalist18_linear": linear_probe.probe_item,
}

SUITES: dict[str, tuple[Protocol, ...]] = {
    "model-zoo": (
        protocols.VOC07_SVM,
        protocols.VOC07_LOW_SHOT,
        protocols.IMAGENET_LINEAR,
        protocols.IMAGENET_AVGPOOL,
        protocols.PLACES205_LINEAR,
        protocols.INATURALIST18_LINEAR,
    ),
    # All that the AvgPool columns of the published tables hold; their documents say which row
    # is of which.
    "avgpool": (
        protocols.IMAGENET_AVGPOOL,
        protocols.IMAGENET_AVGPOOL_LARS,
        protocols.IMAGENET_AVGPOOL_COSINE,
    ),
    "vissl": tuple(protocol for protocol in PROTOCOLS.values() if protocol.variant == "vissl"),
    "fair": tuple(protocol for protocol in PROTOCOLS.values() if protocol.variant == "fair"),
    "digits": tuple(protocol for protocol in PROTOCOLS.values() if protocol.variant == "digits"),
}


def goals(trunks: Sequence[Trunk], data: Path, chosen: Sequence[Protocol]) -> list[Goal]:
    """One goal for each trunk and protocol; `UserError` naming every dataset that is missing."""
    folders = {protocol.dataset: data / FOLDERS[protocol.dataset] for protocol in chosen}
    missing = sorted(str(folder) for folder in folders.values() if not folder.is_dir())
    if missing:
        raise UserError(
            f"no dataset at {', '.join(missing)}: put it (or a link to it) there, name another "
            "folder with --data, or leave its benchmarks out with --only"
        )
    return [
        BENCHMARKS[protocol.benchmark](trunk, folders[protocol.dataset], protocol)
        for trunk in trunks
        for protocol in chosen
    ]
