"""The clock of a measurement, by a clock that tests set."""

from contextlib import suppress

import pytest
import torch

from benchmarks.rehearsal import watch
from benchmarks.rehearsal.watch import Enough, Watch, host_gib

CPU = torch.device("cpu")


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(watch.time, "perf_counter", found.perf_counter)
    return found


def test_what_warms_up_is_not_in_the_speed(clock: Clock) -> None:
    seen = Watch(100, CPU)
    seen.start()
    for later in (50.0, 1.0, 1.0):
        clock.now += later
        seen.update(64)
    seen.end()
    assert seen.images_per_s == 64


def test_parts_of_a_piece_start_and_stop_no_clock(clock: Clock) -> None:
    """Four parts are decoded at once and computed with the fourth, in ten seconds."""
    seen = Watch(25, CPU, unit=256)
    seen.start()
    with suppress(Enough):
        for number in range(100):
            clock.now += 10.0 * (number % 4 == 3)
            seen.update(64)
    seen.end()
    assert clock.now == 130
    assert seen.images_per_s == pytest.approx(25.6)


def test_one_update_counts_from_the_start(clock: Clock) -> None:
    seen = Watch(100, CPU, unit=256)
    seen.start()
    clock.now += 2.0
    seen.update(48)
    seen.end()
    assert seen.images_per_s == 24


def test_the_memory_is_that_of_this_process() -> None:
    before = host_gib()
    held = bytearray(b"x") * 2**28
    assert host_gib() - before == pytest.approx(0.25, abs=0.05)
    assert len(held) == 2**28
