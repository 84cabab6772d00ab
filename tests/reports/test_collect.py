"""Reading a zoo: what is no record is named, and nothing claims a cell twice."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.results import Checkpoint, LowShotRecord
from reports.__main__ import main
from reports.collect import collect
from slurm.errors import UserError

HEADS = {"feature1": 10.0, "feature5": 50.0}


def edit(path: Path, **changes: object) -> None:
    record = json.loads(path.read_bytes())
    record.update(changes)
    path.write_text(json.dumps(record))


def test_all_checkpoints_by_name_or_in_the_order_asked_for(zoo: Any) -> None:
    for name in ("b", "a", "c"):
        zoo.probe(name, HEADS)
    assert [f.record.checkpoint.name for f in collect(zoo.path).found] == ["a", "b", "c"]
    chosen = collect(zoo.path, ["c", "a"])
    assert [f.record.checkpoint.name for f in chosen.found] == ["c", "a"]
    with pytest.raises(UserError, match="unknown checkpoint in the results 'bb'; did you mean b"):
        collect(zoo.path, ["bb"])


def test_parts_below_a_record_are_not_records(zoo: Any) -> None:
    path = zoo.probe("net", HEADS)
    parts = path.with_suffix("")
    parts.mkdir()
    (parts / "feature5.json").write_text("{ half")
    (path.parent / ".tmp.json.12.tmp").write_text("{")
    assert len(collect(zoo.path).found) == 1


def test_a_missing_zoo_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no zoo at"):
        collect(tmp_path / "nowhere")


def broken(zoo: Any, how: str) -> Path:
    """A zoo with one good record and one file that is none."""
    zoo.probe("good", HEADS)
    path = zoo.probe("bad", HEADS)
    record = json.loads(path.read_bytes())
    content = {
        "half-written": path.read_text()[:200],
        "empty": "",
        "binary": "\x00\x01",
        "a list": "[]",
        "foreign": '{"hello": 1}',
        "older schema": json.dumps(record | {"schema": 0}),
        "newer schema": json.dumps(record | {"schema": 2}),
        "unknown benchmark": json.dumps(record | {"benchmark": "cifar"}),
        "unknown field": json.dumps(record | {"surprise": 1}),
        "missing field": json.dumps({k: v for k, v in record.items() if k != "heads"}),
        "text for a figure": path.read_text().replace('"top1": 10.0', '"top1": "10"'),
        "NaN": path.read_text().replace('"top1": 10.0', '"top1": NaN'),
        "null for a figure": path.read_text().replace('"top1": 10.0', '"top1": null'),
        "a fraction of 1 over 100": path.read_text().replace('"top1": 10.0', '"top1": 100.5'),
        "negative": path.read_text().replace('"top1": 10.0', '"top1": -1.0'),
        "another's place": path.read_text().replace('"name": "bad"', '"name": "good"'),
        "another benchmark's place": json.dumps(record | {"benchmark": "places205_linear"}),
        "no heads": json.dumps(record | {"heads": {}}),
    }[how]
    path.write_text(content)
    return path


HOW = [
    *("half-written", "empty", "binary", "a list", "foreign", "older schema", "newer schema"),
    *("unknown benchmark", "unknown field", "missing field", "text for a figure", "NaN"),
    *("null for a figure", "a fraction of 1 over 100", "negative", "another's place"),
    *("another benchmark's place", "no heads"),
]


@pytest.mark.parametrize("how", HOW)
def test_what_is_no_record_is_named_and_skipped_only_when_asked(zoo: Any, how: str) -> None:
    path = broken(zoo, how)
    with pytest.raises(UserError) as caught:
        collect(zoo.path)
    assert str(path) in str(caught.value)
    assert "--skip-invalid" in str(caught.value)
    found = collect(zoo.path, skip_invalid=True)
    assert [item.record.checkpoint.name for item in found.found] == ["good"]
    assert len(found.skipped) == 1
    assert str(path) in found.skipped[0]


def test_json_outside_a_record_s_place_is_named(zoo: Any) -> None:
    zoo.probe("net", HEADS)
    stray = zoo.path / "results" / "net" / "copy.json"
    stray.write_text("{}")
    with pytest.raises(UserError, match=r"copy\.json is not in a record's place"):
        collect(zoo.path)
    assert len(collect(zoo.path, skip_invalid=True).found) == 1


def test_what_is_no_file_in_a_record_s_place_is_named(zoo: Any) -> None:
    """It is nobody's figure; passed over in silence, it would be a cell that is missing."""
    folder = zoo.probe("net", HEADS).parent
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / "link.json").symlink_to("nowhere.json")
    found = collect(zoo.path)
    assert len(found.found) == 1
    assert found.skipped == (
        f"{folder}/folder.json is a folder, and no record",
        f"{folder}/link.json is a link that leads to no file, and no record",
        f"{folder}/pipe.json is a pipe, a socket or a device, and no record",
    )


def test_a_best_layer_that_is_not_best_is_refused(zoo: Any) -> None:
    path = zoo.svm("net", {"feature4": 70.0, "feature5": 60.0})
    edit(path, best_layer="feature5")
    with pytest.raises(UserError, match="names 'feature5' as best layer, which it is not"):
        collect(zoo.path)


@pytest.mark.parametrize("k", ["one", "01", "-1", "1.0", "0", "²", "9" * 5000])
def test_a_shot_that_is_no_number_is_refused(zoo: Any, k: str) -> None:
    path = zoo.low_shot("net", {"feature5": [10.0] * 8})
    record = json.loads(path.read_bytes())
    shots = record["layers"]["feature5"]["shots"]
    shots[k] = shots.pop("1")
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="no shots, or one that is no number") as caught:
        collect(zoo.path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("kind", "field", "value", "match"),
    [
        ("svm", "map", 69.0, "map = 69.0 in layer 'x', but the mean of its ap"),
        ("svm", "ap", [70.0] * 19, "19 values of ap in layer 'x', of 20 classes"),
        ("svm", "ap", [], "0 values of ap"),
        ("svm", "ap", [170.0, -30.0] * 10, "outside 0..100: x ap = 170.0"),
        ("svm", "cv_ap", [[101.0]] * 20, "outside 0..100: x cv_ap = 101.0"),
        ("low_shot", "mean", 70.1, "mean = 70.1 in layer 'x' at k=1, but its by_cost gives 70.0"),
        ("low_shot", "max", 99.0, "max = 99.0"),
        ("low_shot", "std", 0.0, "std = 0.0"),
        ("low_shot", "cost", 3.0, "no by_cost of its cost 3.0"),
        ("low_shot", "by_cost", {"1.0": []}, "no by_cost of its cost 1.0"),
        ("probe", "top1", 71.0, "top1 = 71.0 in head 'x', but top1_by_epoch ends with 70.0"),
        ("probe", "top5", 69.0, "top5 = 69.0 in head 'x', less than top1"),
        ("probe", "top5", 101.0, "outside 0..100"),
        ("probe", "best_top1", 75.0, "best_top1 = 75.0 of epoch 1"),
        ("probe", "best_epoch", 91, "best_top1 = 71.0 of epoch 91"),
        ("probe", "top1_by_epoch", [71.0, 70.0], "2 values of top1_by_epoch"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(
    zoo: Any, kind: str, field: str, value: object, match: str
) -> None:
    path = getattr(zoo, kind)("net", {"x": [70.0] * 8 if kind == "low_shot" else 70.0})
    assert collect(zoo.path).skipped == ()
    record = json.loads(path.read_bytes())
    figures = record["heads" if kind == "probe" else "layers"]["x"]
    (figures["shots"]["1"] if kind == "low_shot" else figures)[field] = value
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=match) as caught:
        collect(zoo.path)
    assert str(path) in str(caught.value)
    assert len(collect(zoo.path, skip_invalid=True).skipped) == 1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epochs": 91}, "values of top1_by_epoch"),
        ({"epochs": 0}, "has 0 epochs"),
        ({"epochs": 2**64}, "epochs, which its evaluated"),
        ({"evaluated": [1, 2]}, "epochs, which its evaluated epochs do not end with"),
        ({"evaluated": [2, 1, 90]}, "epochs, which its evaluated epochs do not end with"),
        ({"evaluated": [45, 90]}, "of 2 epochs"),
        ({"seed": -1}, "negative number: seed = -1"),
        ({"data": {"val": {"images": -5, "classes": 2, "sha256": ""}}}, "images of val = -5"),
    ],
)
def test_epochs_seeds_and_sizes_that_cannot_be_are_refused(
    zoo: Any, changes: dict[str, object], match: str
) -> None:
    edit(zoo.probe("net", HEADS), **changes)
    with pytest.raises(UserError, match=match):
        collect(zoo.path)


def test_clashing_duplicates_are_refused_with_both_paths_even_when_skipping(zoo: Any) -> None:
    first = zoo.probe("net", {"feature5": 50.0})
    second = zoo.probe("net", {"feature5": 51.0}, key="again")
    for skip in (False, True):
        with pytest.raises(UserError) as caught:
            collect(zoo.path, skip_invalid=skip)
        assert str(first) in str(caught.value)
        assert str(second) in str(caught.value)


def test_two_networks_under_one_name_are_refused(zoo: Any) -> None:
    first = zoo.probe("net", HEADS)
    other = zoo.with_(weights="other").probe("net", {"avgpool": 50.0}, IMAGENET_AVGPOOL)
    with pytest.raises(UserError, match="different weights under the one name net") as caught:
        collect(zoo.path)
    assert str(first) in str(caught.value)
    assert str(other) in str(caught.value)


def test_seeds_of_a_random_trunk_are_no_clash(zoo: Any) -> None:
    for seed in (0, 1):
        trunk = zoo.with_(weights=f"random:resnet18:True:{seed}")
        trunk.probe("random-sobel_resnet18", HEADS, seed=seed)
    assert len(collect(zoo.path).found) == 2


def test_a_bumped_protocol_version_is_no_clash(zoo: Any) -> None:
    zoo.probe("net", HEADS)
    zoo.probe("net", HEADS, protocol_version=IMAGENET_LINEAR.version + 1, key="v2")
    assert len(collect(zoo.path).found) == 2


def test_records_of_earlier_weights_are_left_out_and_said_so(zoo: Any) -> None:
    old = zoo.with_(weights="old").probe("net", {"feature5": 1.0}, key="old")
    zoo.probe("net", {"feature5": 50.0})
    zoo.card("net")
    found = collect(zoo.path)
    assert [item.record.checkpoint.weights for item in found.found] == [zoo.weights]
    assert found.skipped == (f"{old} is of earlier weights of net",)


def test_what_has_outdated_records_alone_is_not_called_unknown(
    zoo: Any, capsys: pytest.CaptureFixture
) -> None:
    for seed in (0, 1):
        zoo.probe("light", HEADS, seed=seed, variant="custom")
    zoo.probe("other", HEADS)
    zoo.probe("other", HEADS, seed=1, checkpoint=Checkpoint("other", "resnet50", "old", True))
    zoo.card("light", weights="new")
    zoo.card("other")
    out = r"none of its records \(2\) is used, each is of earlier weights of light"
    for flags in (["--ckpt", "light"], ["--ckpt", "other,light"]):
        with pytest.raises(UserError, match=f"^light: {out}; measure again$"):
            main(["--zoo", str(zoo.path), *flags])
    with pytest.raises(UserError, match=f"^light: {out}"):
        main(["compare", "light", "other", "--zoo", str(zoo.path)])
    with pytest.raises(UserError, match=f"^custom: {out}"):
        main(["--zoo", str(zoo.path), "--variant", "custom"])
    with pytest.raises(UserError, match="unknown variant in the results 'custom'; known: mmsel"):
        main(["--zoo", str(zoo.path), "--ckpt", "other", "--variant", "custom"])
    zoo.probe("bad", HEADS).write_text("[]")
    with pytest.raises(
        UserError, match=r"^bad: none of its records \(1\) is used, each is no valid"
    ):
        collect(zoo.path, ["bad"], skip_invalid=True)
    zoo.probe("bad", HEADS)
    capsys.readouterr()
    with pytest.raises(UserError, match="holds no outcomes"):
        main(["compare", "bad", "other", "--zoo", str(zoo.path)])
    assert capsys.readouterr().err.count("left out: ") == 3  # one of them is of `other`


def test_a_malformed_card_is_named(zoo: Any) -> None:
    zoo.probe("net", HEADS)
    path = zoo.card("net")
    path.write_text('{"name": "net"')
    with pytest.raises(UserError, match=r"card\.json is not a valid Card"):
        collect(zoo.path)
    assert collect(zoo.path, skip_invalid=True).cards == {}


def test_records_are_read_by_their_own_type(zoo: Any) -> None:
    zoo.low_shot("net", {"feature5": [10.0] * 8})
    assert isinstance(collect(zoo.path).found[0].record, LowShotRecord)


PIXELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"arch": "resnet50_caffe"}, "was measured on resnet50 with Sobel stem, and net is resnet"),
        ({"sobel": False}, "was measured on resnet50 with Sobel stem, and net is resnet50 now"),
        ({"std": (0.228, 0.224, 0.225)}, r"std 0.229, 0.224, 0.225; net has mean 0.485, 0.456"),
        ({"mean": (0.5, 0.5, 0.5)}, "was measured with mean 0.485, 0.456, 0.406 and std"),
    ],
)
def test_records_of_what_a_checkpoint_was_before_are_left_out(
    zoo: Any, card: dict[str, Any], says: str
) -> None:
    """The same weights, built or fed otherwise, have other features."""
    mean, std = PIXELS
    was = Checkpoint("net", "resnet50", zoo.weights, True, None, mean, std)
    old = zoo.probe("net", {"feature1": 10.0}, checkpoint=was)
    path = zoo.card("net")
    fields = json.loads(path.read_text()) | {"mean": mean, "std": std}
    path.write_text(json.dumps(fields))
    assert [item.path for item in collect(zoo.path).found] == [old]
    path.write_text(json.dumps(fields | card))
    found = collect(zoo.path)
    assert not found.found
    (reason,) = found.skipped
    assert reason.startswith(f"{old} ")
    assert says in reason
    # A record of the checkpoint as it is now may stand beside the old one.
    now = msgspec.structs.replace(was, **card)
    new = zoo.probe("net", {"feature1": 20.0}, checkpoint=now, key="new")
    assert [item.path for item in collect(zoo.path).found] == [new]
    # Without a card nothing says which of the two the name stands for.
    path.unlink()
    with pytest.raises(UserError, match="remove the one that is out of date"):
        collect(zoo.path)


def test_two_ways_to_feed_a_network_share_no_row(zoo: Any) -> None:
    mean, std = PIXELS
    for benchmark, stds in ((IMAGENET_LINEAR, std), (IMAGENET_AVGPOOL, (0.2, 0.2, 0.2))):
        fed = Checkpoint("net", "resnet50", zoo.weights, True, None, mean, stds)
        zoo.probe("net", {"feature1": 10.0}, benchmark, checkpoint=fed)
    with pytest.raises(UserError, match="are of different means and stds of pixels under the one"):
        collect(zoo.path)


def test_a_record_that_does_not_say_its_pixels_is_of_its_card(zoo: Any) -> None:
    """As those of earlier versions."""
    zoo.probe("net", {"feature1": 10.0})
    zoo.card("net")
    assert len(collect(zoo.path).found) == 1


def test_hidden_folders_hold_no_records(zoo: Any) -> None:
    """What another command makes or removes just now."""
    zoo.probe("net", {"feature1": 10.0})
    (zoo.path / "results" / "net").rename(zoo.path / "results" / ".net.host-1.2.0123abcd.tmp")
    zoo.probe("net", {"feature1": 20.0})
    assert len(collect(zoo.path).found) == 1
