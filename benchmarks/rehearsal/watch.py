"""Watches a measurement: counts images, looks at memory, and ends it after its time."""

import gc
import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.rehearsal.report import GIB

CPU_PIECE = 16  # images that pass a trunk at once on a CPU, at most: more can take it a minute
LOOK_SECONDS = 0.2  # between two looks at the memory


class Enough(Exception):
    """The time of a measurement is over."""


class Watch:
    """In the place of a progress bar; `images_per_s` and the peak are there after `end`.

    The clock starts when the first `unit` images are done, for until then things warm up, and stops
    after a multiple of it: images come in smaller parts than a trunk takes them.
    """

    def __init__(self, seconds: float, device: torch.device, unit: int = 1) -> None:
        self.seconds, self.device, self.unit = seconds, device, unit
        self.images_per_s = self.host_gib = 0.0
        self._began = 0.0
        self._images = 0
        self._over = threading.Event()
        self._looker = threading.Thread(target=self._look, daemon=True)
        self._first: tuple[float, int] | None = None  # when the clock started, after which images

    def start(self) -> None:
        """Begin to count the time, and to look at the memory."""
        self._looker.start()
        self._began = time.perf_counter()

    def update(self, images: int) -> None:
        """Count them; raises `Enough` when the time is over."""
        before, self._images = self._images, self._images + images
        if self._images // self.unit == before // self.unit:
            return
        if self._first is None:
            self._first = (self._now(), self._images)
        if time.perf_counter() - self._began > self.seconds:
            raise Enough

    def end(self) -> None:
        """Take the time; of the first images, warming up and all, where no others came."""
        now = self._now()
        self._over.set()
        self._looker.join()
        self.host_gib = max(self.host_gib, host_gib())
        begin, before = self._first or (self._began, 0)
        if before == self._images:
            begin, before = self._began, 0
        self.images_per_s = (self._images - before) / max(now - begin, 1e-9)

    def _look(self) -> None:
        """In a thread of its own: a forward pass holds most in its middle."""
        while not self._over.wait(LOOK_SECONDS):
            self.host_gib = max(self.host_gib, host_gib())

    def _now(self) -> float:
        """When what was given to the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def host_gib() -> float:
    """Memory of this process and its workers now; what they share counts once."""
    children: list[int] = []
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            children += map(int, path.read_text().split())
    return sum(map(_proportional_bytes, (os.getpid(), *children))) / GIB


def _proportional_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended, or this is no Linux
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def begin_item(device: torch.device) -> None:
    """Let go of what was measured before, and begin to look for another peak."""
    gc.collect()  # models and workers of the item before
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def gpu_gib(device: torch.device) -> float | None:
    """The most that torch has reserved of a GPU; None without one."""
    return torch.cuda.max_memory_reserved(device) / GIB if device.type == "cuda" else None
