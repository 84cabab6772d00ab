"""Watches a measurement: counts images, looks at memory, and ends it after its time."""

import gc
import multiprocessing
import os
import re
import time
from pathlib import Path

import torch

from benchmarks.rehearsal.report import GIB

LOOK_SECONDS = 0.5  # between two looks at the memory


class Enough(Exception):
    """The time of a measurement is over."""


class Watch:
    """In the place of a progress bar. The first update starts the clock: before it, things warm up.

    `images_per_s` and the peaks are there after `end`.
    """

    def __init__(self, seconds: float, device: torch.device) -> None:
        self.seconds, self.device = seconds, device
        self.host_gib = 0.0
        self._looked = 0.0
        self._began = 0.0
        self._first: float | None = None
        self._first_images = self._images = 0
        self.images_per_s = 0.0

    def start(self) -> None:
        """Begin to count the time."""
        self._began = time.perf_counter()

    def update(self, images: int) -> None:
        """Count them; raises `Enough` when the time is over."""
        now = time.perf_counter()
        if self._first is None:
            self._first_images = images
            self._first = self._now()
        else:
            self._images += images
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            self.host_gib = max(self.host_gib, host_gib())
        if now - self._began > self.seconds:
            raise Enough

    def end(self) -> None:
        """Take the time. Where there was but one update, its warming up is in the figure."""
        now = self._now()
        self.host_gib = max(self.host_gib, host_gib())
        begin = self._first if self._images and self._first is not None else self._began
        self.images_per_s = (self._images or self._first_images) / max(now - begin, 1e-9)

    def _now(self) -> float:
        """When what was given to the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def host_gib() -> float:
    """Memory of this process and its workers now; what they share counts once."""
    children = [child.pid for child in multiprocessing.active_children()]
    return sum(_proportional_bytes(pid) for pid in (os.getpid(), *children) if pid) / GIB


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
