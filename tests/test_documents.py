"""The pages that people read: short, with links that lead somewhere and numbers that are true."""

import re
from pathlib import Path

import pytest

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import (
    FAIR_IMAGENET_LINEAR,
    IMAGENET_LINEAR,
    VISSL_IMAGENET_LINEAR,
)
from benchmarks.catalog.inaturalist18_linear import INATURALIST18_LINEAR
from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.catalog.places205_linear import PLACES205_LINEAR
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.catalog.voc07_svm import COSTS_FAIR, COSTS_MMSELFSUP, COSTS_VISSL, VOC07_SVM
from benchmarks.protocols import LinearProtocol
from tests.test_architecture import MODULES

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README_LINES = 170
METHODOLOGY = (ROOT / "docs/methodology.md").read_text()


def test_a_newcomer_finishes_the_readme() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_the_architecture_page_names_every_room() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = {name.split(".")[-2] for name in MODULES}
    assert [room for room in sorted(rooms) if f"{room}/" not in text] == []


def rows(page: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]


@pytest.mark.parametrize(
    ("title", "protocol"),
    [
        ("ImageNet multi-head (Nesterov)", IMAGENET_LINEAR),
        ("Places205 multi-head (Nesterov)", PLACES205_LINEAR),
        ("iNaturalist 2018 multi-head (Nesterov)", INATURALIST18_LINEAR),
        ("ImageNet AvgPool", IMAGENET_AVGPOOL),
    ],
)
def test_the_methodology_says_the_schedules(title: str, protocol: LinearProtocol) -> None:
    (row,) = [row for row in rows(METHODOLOGY) if row[0] == title]
    epochs, milestones, rate, decay = row[1:]
    assert int(epochs) == protocol.epochs
    assert [int(text) for text in milestones.split(",")] == list(protocol.milestones)
    assert (float(rate), float(decay)) == (protocol.learning_rate, protocol.weight_decay)
    assert protocol.nesterov == ("Nesterov" in title)
    assert (protocol.momentum, protocol.gamma, protocol.batch_size) == (0.9, 0.1, 256)
    assert protocol.init_std == 0.01


def test_the_methodology_says_where_variants_differ() -> None:
    table = {row[0]: row[1:] for row in rows(METHODOLOGY) if len(row) == 4}

    def of(name: str, dataset: str) -> list[str]:
        found = []
        for variant in ("mmselfsup", "vissl", "fair"):
            values = [
                getattr(protocol, name)
                for protocol in PROTOCOLS.values()
                if isinstance(protocol, LinearProtocol)
                and (protocol.variant, protocol.dataset) == (variant, dataset)
                and protocol.taps == "stages"
            ]
            found.append(f"{values[0]:g}" if values else "-")
        return found

    assert table["ImageNet epochs"] == of("epochs", "imagenet")
    assert table["Places205 epochs"] == of("epochs", "places205")
    decays = [float(text) for text in table["weight decay of probes"]]
    assert decays == [float(text) for text in of("weight_decay", "imagenet")]
    costs = (COSTS_MMSELFSUP, COSTS_VISSL, COSTS_FAIR)
    assert table["SVM costs"] == [str(len(grid)) for grid in costs]
    linear = (
        IMAGENET_LINEAR,
        VISSL_IMAGENET_LINEAR,
        FAIR_IMAGENET_LINEAR,
    )
    jitter = ["yes" if one.train.jitter and one.train.lighting else "no" for one in linear]
    assert table["colour jitter and lighting"] == jitter
    norms = {"plain": "no scale, no shift", "affine": "with both"}
    assert table["batch norm of heads"] == [norms[one.batch_norm] for one in linear]
    starts = ["torch's default" if one.init_std is None else "N(0, 0.01)" for one in linear]
    assert table["head weights at start"] == starts


def test_the_methodology_says_the_svm() -> None:
    for protocol in (VOC07_SVM, VOC07_LOW_SHOT):
        assert protocol.costs == tuple(sorted([0.5**p for p in range(4, 20)] + [1, 10, 100]))
        assert (protocol.positive_weight, protocol.norm_epsilon) == (2.0, 1e-5)
        assert (protocol.image.resize, protocol.image.crop, protocol.image.squash) == (
            256,
            224,
            True,
        )
    assert VOC07_SVM.folds == 3
    low_shot = VOC07_LOW_SHOT
    assert (low_shot.samples, low_shot.negatives_per_positive) == (5, 19)
    assert (low_shot.shots[0], low_shot.shots[-1], low_shot.selection) == (1, 96, "test")
