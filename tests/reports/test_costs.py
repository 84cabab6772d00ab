"""Hours of a device by row, from what records say they took."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import results
from benchmarks.catalog.records import read_record
from benchmarks.results import Made, Record
from reports.__main__ import main
from reports.costs import cost_of, device_seconds, hours_by_row, images_per_second
from reports.formats.exports import without_volatile
from reports.pages.html import without_drawings
from tests.reports.conftest import features


def record_of(path: Path, **changes: Any) -> Record:
    return msgspec.structs.replace(read_record(path), **changes)


def test_seconds_are_of_every_process_and_shared_among_probes_of_one_stream(zoo: Any) -> None:
    path = zoo.probe("net", features([9.0]))
    made = Made("net", "data", device="A GPU", processes=4, beside=8)
    record = record_of(path, seconds=100.0, made=made, device="cuda:0")
    assert device_seconds(record) == 50
    assert cost_of(record)["device_name"] == "A GPU"
    assert device_seconds(record_of(path, seconds=100.0)) == 100  # an earlier build's counts whole


def test_images_a_second_count_training_and_evaluating(zoo: Any) -> None:
    path = zoo.probe("net", features([9.0]))
    record = record_of(path, seconds=1000.0)
    train, val = record.data["train"].images, record.data["val"].images
    assert images_per_second(record) == pytest.approx(90 * (train + val) / 1000)
    assert images_per_second(record_of(path, seconds=0.0)) is None
    svm = zoo.svm("net", {"feature5": 50.0})
    assert images_per_second(read_record(svm)) is None
    made = Made("net", "data", extraction={"CPU": 10.0})
    assert images_per_second(record_of(svm, made=made)) == pytest.approx(9963 / 10)


def test_one_extraction_counts_once(zoo: Any) -> None:
    from reports.collect import collect

    made = Made("net", "data", device="CPU", extraction={"A GPU": 3600.0})
    for path in (zoo.svm("net", {"feature5": 50.0}), zoo.low_shot("net", {"feature5": [9.0] * 8})):
        results.write(path, record_of(path, seconds=1800.0, made=made))
    assert hours_by_row(collect(zoo.path).found) == {"net": {"CPU": 1.0, "A GPU": 1.0}}


def test_one_extraction_of_two_benchmarks_counts_what_its_trunk_bears_once(zoo: Any) -> None:
    from reports.collect import collect

    clock, share = {"A GPU": 7200.0}, {"A GPU": 3600.0}
    made = Made("net", "data", device="A GPU", extraction=clock, extraction_share=share)
    paths = (zoo.knn("net", {20: 50.0}), zoo.logreg("net", 50.0, 20.0))
    for path in paths:
        results.write(path, record_of(path, seconds=1800.0, made=made, device="cuda:0"))
    assert hours_by_row(collect(zoo.path).found) == {"net": {"A GPU": 2.0}}
    cost = cost_of(read_record(paths[0]))
    images = sum(split.images for split in read_record(paths[0]).data.values())
    assert cost["images_per_second"] == pytest.approx(images / 7200)
    assert cost["extraction_share_seconds"] == share
    # Other features that came of the same pass are others, though they took as long.
    one = read_record(paths[1])
    results.write(paths[1], record_of(paths[1], settings={**one.settings, "dtype": "fp32"}))
    assert hours_by_row(collect(zoo.path).found) == {"net": {"A GPU": 3.0}}


def test_the_hours_are_on_the_page_and_in_json_and_make_nothing_stale(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = zoo.probe("net", features([9.0]))
    files = ["--readme", str(tmp_path / "ZOO.md"), "--html", str(tmp_path / "page.html")]
    main(["--zoo", str(zoo.path), *files])
    page = (tmp_path / "page.html").read_text()
    assert "<tr><td>net</td><td>CPU</td><td>0.00347</td></tr>" in page  # 12.5 seconds
    results.write(path, record_of(path, seconds=7200.0))
    main(["--zoo", str(zoo.path), *files, "--check"])
    main(["--zoo", str(zoo.path), *files])
    assert without_drawings((tmp_path / "page.html").read_bytes()) == without_drawings(
        page.encode()
    )
    content = (tmp_path / "results.json").read_bytes()
    assert json.loads(content)["run"] == {"device_hours": {"net": {"CPU": 0.003472222222222222}}}
    assert "run" not in without_volatile(content)
    capsys.readouterr()


def test_a_record_of_the_build_before_reads_and_says_no_more_than_it_knows(zoo: Any) -> None:
    path = zoo.probe("net", features([9.0]))
    content = json.loads(path.read_text())
    assert content.pop("made") is None
    path.write_text(json.dumps(content))
    assert set(cost_of(read_record(path))) == {"device_name", "device_hours", "images_per_second"}
