"""The suites: which protocols are run together, each once for every checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.catalog.benchmark import Goal
from benchmarks.catalog.listed import BENCHMARKS, PROTOCOLS
from benchmarks.datasets.catalog import DATASETS
from benchmarks.datasets.loading import entry_name, holds_digits
from benchmarks.protocols import Protocol, Variant
from benchmarks.trunks import Trunk
from slurm.errors import UserError

# Minutes on cached features. They and what else is apart stand in tables of their own: the suites
# of the published tables have none.
QUICK = ("imagenet_knn", "imagenet_logreg")
APART = (*QUICK, "imagenet_attentive", "imagenet_blocks")


def _of_variant(variant: Variant) -> tuple[Protocol, ...]:
    return tuple(
        protocol
        for protocol in PROTOCOLS.values()
        if protocol.variant == variant and protocol.benchmark not in APART
    )


def _of_benchmark(name: str) -> tuple[Protocol, ...]:
    """Its protocols of the default variant, or all where it has none of that.

    Of those apart all: `fitting` chooses by the data.
    """
    protocols = BENCHMARKS[name].protocols
    if name in APART:
        return protocols
    usual = tuple(protocol for protocol in protocols if protocol.variant == "mmselfsup")
    return usual or protocols


MODEL_ZOO = (
    "voc07_svm",
    "voc07_low_shot_svm",
    "imagenet_linear",
    "imagenet_avgpool",
    "places205_linear",
    "inaturalist18_linear",
)
SUITES: dict[str, tuple[Protocol, ...]] = {
    "model-zoo": tuple(_of_benchmark(name)[0] for name in MODEL_ZOO),
    # All that the AvgPool columns of the published tables hold; their documents say which row
    # is of which.
    "avgpool": _of_benchmark("imagenet_avgpool"),
    "vissl": _of_variant("vissl"),
    "fair": _of_variant("fair"),
    "digits": _of_variant("digits"),
    "quick": tuple(protocol for name in QUICK for protocol in BENCHMARKS[name].protocols),
    # And every benchmark alone.
    **{name: _of_benchmark(name) for name, one in BENCHMARKS.items() if one.protocols},
}


def fitting(chosen: Sequence[Protocol], data: Path, own: str | None = None) -> list[Protocol]:
    """`chosen` without those protocols apart whose images are of another size than the data's.

    The embedded digits are measured by the variant digits, all other data by the others; `own` is
    the name of a user's own data, which lie in `data` itself.
    """

    def fits(protocol: Protocol) -> bool:
        folder = data if own else data / DATASETS[entry_name(protocol.dataset)].folder
        return (protocol.variant == "digits") == holds_digits(folder)

    return [one for one in chosen if one.benchmark not in APART or fits(one)]


def goals(trunks: Sequence[Trunk], data: Path, chosen: Sequence[Protocol]) -> list[Goal]:
    """One goal for each trunk and protocol; `UserError` naming every dataset that is missing."""
    folders = {one.dataset: data / DATASETS[entry_name(one.dataset)].folder for one in chosen}
    missing = sorted(str(folder) for folder in folders.values() if not folder.is_dir())
    if missing:
        mine = any((data / name).is_dir() for name in ("train", "JPEGImages"))
        own = f"; if {data} itself is data of your own, add --own NAME" if mine else ""
        raise UserError(
            f"no dataset at {', '.join(missing)}: put it (or a link to it) there, name another "
            f"folder with --data, or leave its benchmarks out with --only{own}"
        )
    return [
        BENCHMARKS[protocol.benchmark].item(trunk, folders[protocol.dataset], protocol)
        for trunk in trunks
        for protocol in chosen
    ]
