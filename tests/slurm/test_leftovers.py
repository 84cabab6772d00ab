"""Temporary files of killed processes go, those of living ones stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurm import leftovers
from slurm.files import atomic_path, write_bytes
from slurm.leftovers import remove_leftovers, temporary_beside

ROOT = Path(__file__).parents[2]
WRITER = """
import sys, time
from pathlib import Path
from slurm.cli import run_command
from slurm.files import atomic_path

def main(argv):
    with atomic_path(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(b"half")
        print("begun", flush=True)
        time.sleep(60)

run_command(main)
"""


@pytest.fixture(autouse=True)
def forget() -> None:
    remove_leftovers.cache_clear()


def start(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    killed, alive = start(tmp_path / "a.npy"), start(tmp_path / "b.npy")
    killed.kill()
    killed.wait()
    assert len(list(tmp_path.glob(".*.tmp"))) == 2
    write_bytes(tmp_path / "c.json", b"{}")
    (left,) = tmp_path.glob(".*.tmp")
    assert left.name.startswith(".b.npy.")
    alive.kill()
    alive.wait()


def test_sigterm_tidies_up_and_says_so(tmp_path: Path) -> None:
    process = start(tmp_path / "a.npy")
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert message == "stopped: by SIGTERM; run the same command again to go on\n"
    assert list(tmp_path.iterdir()) == []


def test_what_others_left_goes_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "_owner", lambda: "elsewhere-1")
        there = [temporary_beside(tmp_path / name) for name in ("old", "new")]
    former = tmp_path / ".record.json.999999.0123abcd.tmp"  # as they were called once
    mine = tmp_path / ".hidden.txt"
    for path in (*there, former, mine):
        path.write_bytes(b"x")
    day_ago = time.time() - leftovers.DAY - 60
    for path in (there[0], former, mine):
        os.utime(path, (day_ago, day_ago))
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([there[1], mine])


def test_names_of_any_length_and_letters_fit(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127, "a.b.c"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_bytes(b"1")
        assert (tmp_path / name).read_bytes() == b"1"
