"""Grids in reports, beside the figures and never among them; and probes in tables of their own."""

from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.catalog.further.imagenet_attentive import IMAGENET_ATTENTIVE
from benchmarks.results import Checkpoint, GridPoint, Head, ProbeRecord, read
from reports.collect import collect
from reports.document import measured_section
from reports.footnotes import footnotes
from reports.measured import measured_tables
from reports.pictures.curves import pictures
from reports.reproduce import command
from reports.tables import markdown
from slurm.errors import UserError

HEADS = {"feature1": 12.0, "feature5": 51.0}
RANDOM = Checkpoint("moco", "resnet50", "random:1")


def head(value: float) -> Head:
    return Head(value, value + 20, value + 1, 1, (value + 1, *(value,) * 89), value + 19)


def grid(own: Any, **changes: Any) -> tuple[GridPoint, ...]:
    """0.01 with 1e-4, the protocol's point, among three rates and two decays; 0.1 diverges."""
    points = []
    for rate, decay in product((0.001, 0.01, 0.1), (0.0, 1e-4)):
        found = {tap: head(value - 100 * rate) for tap, value in HEADS.items()}
        diverged = {"feature5": 3} if rate == 0.1 else {}
        heads = {tap: one for tap, one in found.items() if tap not in diverged}
        heads = own if (rate, decay) == (0.01, 1e-4) else heads
        points.append(GridPoint(rate, decay, heads, diverged))
    points[3] = msgspec.structs.replace(points[3], **changes)
    return tuple(points)


def test_a_grid_changes_no_cell_and_has_a_footnote_and_a_picture(zoo: Any) -> None:
    path = zoo.probe("moco", HEADS)
    (plain,) = measured_tables(collect(zoo.path))
    record = read(path, ProbeRecord)
    path.unlink()
    zoo.probe("moco", HEADS, grid=grid(record.heads))
    collection = collect(zoo.path)
    (item,) = measured_tables(collection)
    assert markdown(item.table) == markdown(plain.table)
    further = [line for line in footnotes(item) if line not in footnotes(plain)]
    assert further == [
        "**Grid** of Feature1 - Feature5: heads at learning rates 0.001, 0.01, 0.1 and weight "
        "decays 0, 0.0001 were trained on the same forward pass; their figures are in the records "
        "and in no column."
    ]
    made = {one.name: one for one in pictures([item], collection)}
    assert len(made) == 2
    (panel,) = made["grid-imagenet-linear-mmselfsup-moco"].panels
    assert {curve.label: (curve.x, curve.y) for curve in panel.curves} == {
        "feature1, weight decay 0": ((0.001, 0.01, 0.1), (11.9, 11.0, 2.0)),
        "feature1, weight decay 0.0001": ((0.001, 0.01, 0.1), (11.9, 12.0, 2.0)),
        "feature5, weight decay 0": ((0.001, 0.01), (50.9, 50.0)),
        "feature5, weight decay 0.0001": ((0.001, 0.01), (50.9, 51.0)),
    }


def test_the_command_of_a_record_names_every_point(zoo: Any) -> None:
    own = read(zoo.probe("moco", HEADS), ProbeRecord).heads
    path = zoo.probe("moco", HEADS, grid=grid(own), checkpoint=RANDOM)
    line = command(path, read(path, ProbeRecord), "data/imagenet", Path("again"))
    assert "--lr 0.001,0.01,0.1 --weight-decay 0.0,0.0001" in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"heads": {tap: head(value) for tap, value in HEADS.items()}}, "has other figures at"),
        ({"diverged": {"feature5": 2}}, "has other heads at learning rate 0.01"),
        ({"heads": {}}, "has other heads at learning rate 0.01"),
        ({"weight_decay": 0.0}, "has two points at learning rate 0.01, weight decay 0.0"),
        ({"heads": {tap: head(120.0) for tap in HEADS}}, "has a figure outside 0..100"),
    ],
)
def test_a_grid_that_contradicts_its_record_is_refused(
    zoo: Any, changes: dict[str, Any], says: str
) -> None:
    own = read(zoo.probe("moco", HEADS), ProbeRecord).heads
    zoo.probe("moco", HEADS, grid=grid(own, **changes))
    with pytest.raises(UserError, match=says):
        collect(zoo.path)


def test_attentive_probes_have_a_table_of_their_own(zoo: Any) -> None:
    zoo.probe("moco", HEADS)
    zoo.probe("moco", {"ep1": 60.0, "ep32": 70.25}, IMAGENET_ATTENTIVE)
    zoo.probe("mae", {"ep1": 40.0, "ep32": 65.0}, IMAGENET_ATTENTIVE)
    collection = collect(zoo.path)
    linear, attentive = measured_tables(collection)
    assert linear.kind.key == "imagenet-linear"
    assert set(linear.table.columns) == {*(f"Feature{n}" for n in range(1, 6)), "AvgPool"}
    text = measured_section(attentive)
    assert text.startswith("#### ImageNet Attentive Probing (variant `ep`)\n")
    assert "| moco                   | 60.00 | 70.25 |" in text
    assert "- **Attentive**: protocol `ep_attentive-8xb512-coslr-90e_in1k`, variant `ep`" in text
    assert "efficient probing of the last map; 90 epochs, top-1 (%) of the last one" in text
    made = {one.name: one for one in pictures([attentive], collection)}
    (panel,) = made["attentive-ep"].panels
    assert [(curve.label, curve.x, curve.y) for curve in panel.curves] == [
        ("mae", (1.0, 32.0), (40.0, 65.0)),
        ("moco", (1.0, 32.0), (60.0, 70.25)),
    ]
