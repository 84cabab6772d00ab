"""docs/costs.md and the table of docs/data.md: written from data, and the arithmetic is right."""

import json

import pytest
from torchvision.datasets import imagenet, inaturalist, voc

from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.images.copies import OFFICIAL
from benchmarks.protocols import LinearProtocol
from pretrain.methods import METHODS
from tests.perf.costs import PAGE, fresh
from tests.test_documents import ROOT, rows

TABLE = {row[0].strip("`"): row[1:] for row in rows(PAGE.read_text())}


def test_the_page_is_what_the_command_writes() -> None:
    assert fresh(PAGE.read_text()) == PAGE.read_text()


def test_every_protocol_and_recipe_has_a_row() -> None:
    linear = [one for one in PROTOCOLS.values() if isinstance(one, LinearProtocol)]
    recipes = {name for method in METHODS.values() for name in method.recipe_names()}
    names = {one.name for one in linear if one.variant != "digits"} | recipes
    assert {name for name in names if not name.startswith("digits")} <= TABLE.keys()


def printed(hours: float) -> object:
    """What a cell says of so many hours: with one digit below ten of them, else with none."""
    return pytest.approx(hours, abs=0.51 if hours >= 9.95 else 0.051)


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        # 90 epochs at the 3,470 images/s of the loader, their evaluation at 1,134 x 5.87 / 6.20
        ("resnet50_mhead_linear-8xb32-steplr-90e_in1k", 90 * (1_281_167 / 3470 + 50_000 / 1073.6)),
        # evaluated every 10th epoch
        ("resnet50_linear-8xb32-coslr-100e_in1k", 100 * 1_281_167 / 3374 + 10 * 50_000 / 1073.6),
        ("vissl_mhead_linear-84e_inat18", 84 * (437_513 / 3374 + 24_426 / 1073.6)),
    ],
)
def test_hours_are_images_by_the_slower_of_both(name: str, hours: float) -> None:
    one, eight = (float(cell.removesuffix(" h")) for cell in TABLE[name][3:5])
    assert one == printed(hours / 3600)
    assert eight == printed(hours / 3600 / 8)


def test_pretraining_adds_its_clustering_undivided() -> None:
    measured = json.loads((ROOT / "tests/perf/results/stream.json").read_text())
    loader = 3469.6 * measured["multi_head_ms"] / measured["deepcluster_ms"]
    shared = 1_281_167 / min(loader, 5910.7) + 1_281_167 / (1134 * 5.87 / 6.2)
    clustering = 17.93 + 10.59 + 0.2
    one, eight = (
        float(x.removesuffix(" h")) for x in TABLE["sobel_resnet50_8xb64-steplr-200e"][2:4]
    )
    assert one == printed(200 * (shared + clustering) / 3600)
    assert eight == printed(200 * (shared / 8 + clustering) / 3600)


def test_rotation_prediction_trains_on_four_turns_of_each_image() -> None:
    one, eight = (
        float(cell.removesuffix(" h")) for cell in TABLE["rotation_resnet50_8xb16-steplr-70e"][2:4]
    )
    assert one == printed(70 * 4 * 1_281_167 / 5910.7 / 3600)
    assert eight == printed(one / 8)


def test_the_table_of_archives_says_the_sizes_and_torchvisions_sums() -> None:
    table = {row[0]: row[1:] for row in rows((ROOT / "docs/data.md").read_text())}
    titles = {"imagenet": "ImageNet", "places205": "Places205", "voc07": "VOC07"}
    for name, splits in OFFICIAL.items():
        for split, (images, classes) in splits.items():
            title = f"{titles.get(name, 'iNaturalist 2018')} {split}"
            assert table[title][0] == f"{images:,}, {classes:,}"
    sums = {
        "ImageNet train": imagenet.ARCHIVE_META["train"],
        "ImageNet val": imagenet.ARCHIVE_META["val"],
        "VOC07 trainval": tuple(voc.DATASET_YEAR_DICT["2007"][x] for x in ("filename", "md5")),
        "VOC07 test": tuple(voc.DATASET_YEAR_DICT["2007-test"][x] for x in ("filename", "md5")),
        "iNaturalist 2018 train": ("train_val2018.tar.gz", inaturalist.DATASET_MD5["2018"]),
    }
    for title, (archive, md5) in sums.items():
        assert table[title][1:] == [archive, f"`{md5}`"]
