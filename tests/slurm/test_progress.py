"""What is said of a run's place and pace."""

import pytest

from slurm.progress import clock, position, time_line


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.0, "0.0 s"), (59.94, "59.9 s"), (200, "3 min 20 s"), (18_130, "5 h 02 min")],
)
def test_seconds_as_people_say_them(seconds: float, says: str) -> None:
    assert clock(seconds) == says


def test_the_rest_is_told_by_the_pace_so_far() -> None:
    assert time_line(120, 2, 5) == "2 min 00 s so far, 3 min 00 s left"
    assert time_line(120, 5, 5) == "2 min 00 s in all"


@pytest.mark.parametrize(
    ("epoch", "step", "says"),
    [
        (0, 0, "epoch 1/3, at its start"),
        (0, 1, "epoch 1/3, after 1 step"),
        (2, 40, "epoch 3/3, after 40 steps"),
        (3, 0, "the end of epoch 3/3"),
    ],
)
def test_places_are_counted_from_1(epoch: int, step: int, says: str) -> None:
    assert position(epoch, 3, step) == says
