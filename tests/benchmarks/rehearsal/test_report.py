"""The arithmetic of a rehearsal, by figures worked out by hand."""

import pytest

from benchmarks.rehearsal.report import (
    Report,
    Row,
    Speeds,
    evaluation_speed,
    hours_of,
    request_of,
    total_of,
)
from benchmarks.rehearsal.words import lines_of


def test_hours_are_images_by_the_speed_of_both_and_the_evaluations() -> None:
    speeds = Speeds(loader=1000, trunk=500, images=400, test_loader=2000, test_images=200)
    row = Row(
        name="a",
        stage="probe",
        images=1_440_000,
        epochs=10,
        test_images=72_000,
        evaluations=5,
        passes=2,
        speeds=speeds,
    )
    # 14,400,000 / 400 = 36,000 s are 10 h; 360,000 / 200 = 1,800 s are half an hour; twice.
    assert hours_of(row) == pytest.approx(21.0)


def test_hours_of_fits_are_those_of_all_parts() -> None:
    assert hours_of(Row(name="a", stage="voc_svm", parts=5, part_seconds=72.0)) == 0.1


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ((1000.0, 500.0, 500.0, 2000.0), 500.0),  # the trunk is what waits
        ((1000.0, 500.0, 500.0, 250.0), 250.0),  # the loader is
        ((1000.0, 500.0, 400.0, 250.0), 200.0),  # and both lose a fifth to each other
        ((1000.0, 500.0, 600.0, 2000.0), 500.0),  # a lucky measurement gains nothing
    ],
)
def test_an_evaluation_waits_for_the_slower_part(
    speeds: tuple[float, float, float, float], expected: float
) -> None:
    assert evaluation_speed(*speeds) == expected


def test_a_request_has_margins() -> None:
    request = request_of(2.0, 10.0, 3.0, 9)
    assert (request.gpus, request.cpus_per_task) == (1, 9)
    assert (request.mem_gb, request.minutes) == (14, 185)  # 12.5 and 1; 180 and 5
    assert request_of(0.0, 0.5, None, 1).gpus == 0


def test_the_total_adds_hours_and_disk_and_takes_the_largest_memory() -> None:
    rows = [
        Row(name="a", stage="probe", hours=1.0, host_gib=4.0, gpu_gib=2.0, disk_gib=1.0),
        Row(name="b", stage="voc_svm", hours=0.5, host_gib=6.0, disk_gib=0.5),
    ]
    total = total_of(rows, 3)
    assert (total.hours, total.host_gib, total.gpu_gib, total.disk_gib) == (1.5, 6.0, 2.0, 1.5)
    assert total.request is not None
    assert (total.request.gpus, total.request.minutes, total.at_least) == (1, 140, False)


@pytest.mark.parametrize(
    ("short", "hours"),
    [
        (Row(name="c", stage="check"), 1.0),
        (Row(name="c", stage="logreg", hours=0.5, at_least=True), 1.5),
    ],
)
def test_a_sum_that_leaves_something_out_says_so_and_requests_nothing(
    short: Row, hours: float
) -> None:
    rows = (Row(name="a", stage="knn", part_seconds=3600.0, hours=1.0), short)
    total = total_of(rows, 3)
    assert (total.hours, total.at_least, total.request) == (hours, True, None)
    said = list(
        lines_of(
            Report(device="cpu", cores=2, workers=0, seconds=1, done=0, items=rows, total=total)
        )
    )
    (line,) = [one for one in said if one.startswith("all, one after another")]
    assert line.startswith(f"all, one after another: at least {hours:.2f} h")
    assert f"  as one job: no request, since how long {short.stage} takes is not known" in said


def test_both_at_once_are_no_faster_than_either() -> None:
    speeds = Speeds(loader=100, trunk=500, images=120)
    assert hours_of(Row(name="a", stage="extract", images=360_000, epochs=1, speeds=speeds)) == 1.0
