"""The list of datasets: a line each. All that is known of one stands in its file."""

from benchmarks.datasets.imagenet import IMAGENET
from benchmarks.datasets.inaturalist18 import INATURALIST18
from benchmarks.datasets.own import OWN
from benchmarks.datasets.places205 import PLACES205
from benchmarks.datasets.splits import DatasetEntry
from benchmarks.datasets.voc07 import VOC07

LISTED: tuple[DatasetEntry, ...] = (
    IMAGENET,
    PLACES205,
    INATURALIST18,
    VOC07,
    OWN,
)
DATASETS: dict[str, DatasetEntry] = {entry.name: entry for entry in LISTED}
if len(DATASETS) < len(LISTED):
    raise ValueError(f"two datasets have one name: {[entry.name for entry in LISTED]}")
