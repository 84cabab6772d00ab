"""The datasets of the harness: a name, the folder under --data, and the function that reads it."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.datasets import imagenet, inaturalist18, places205, voc07
from benchmarks.datasets.splits import Dataset

DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "imagenet": imagenet.load,
    "places205": places205.load,
    "inaturalist18": inaturalist18.load,
    "voc07": voc07.load,
}

# Where a suite finds each dataset below one --data folder (MMSelfSup's layout).
FOLDERS: dict[str, str] = {
    "imagenet": "imagenet",
    "places205": "places205",
    "inaturalist18": "inaturalist2018",
    "voc07": "VOCdevkit/VOC2007",
}
