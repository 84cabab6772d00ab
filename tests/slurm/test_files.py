import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.errors import UserError, user_error
from slurm.files import atomic_path, check_name, check_writable, read_regular, write_text

WRITER = """
import sys
from pathlib import Path
from slurm.files import write_text
for number in range(200):
    write_text(Path(sys.argv[1]), sys.argv[2] * 20000)
"""


def write_and_fail(path: Path, error: Exception) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "result.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="half-way"):
        write_and_fail(path, RuntimeError("half-way"))
    assert path.read_text() == "old"
    write_text(path, "new\r\n")
    assert path.read_bytes() == b"new\r\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_two_processes_that_write_at_once_leave_the_bytes_of_one(tmp_path: Path) -> None:
    path = tmp_path / "result"
    write_text(path, "a" * 20000)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter]) for letter in "ab"
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(path.read_text())
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"a" * 20000, "b" * 20000}
    assert [entry.name for entry in tmp_path.iterdir()] == ["result"]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "result"
    with pytest.raises(OSError, match="No space left") as caught:
        write_and_fail(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    error = user_error(caught.value)
    assert error is not None
    assert str(error) == f"no room left while writing {path}: free some space and run again"
    assert not list(tmp_path.iterdir())


@given(st.text(max_size=140))
def test_a_name_that_is_accepted_is_one_safe_component(name: str) -> None:
    try:
        check_name(name, "name")
    except UserError:
        return
    assert Path("zoo", name).parent == Path("zoo")
    assert Path("zoo", name).name == name
    assert not name.startswith(".")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-rf", ".hidden", "a\n", "é", "x" * 129])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="not usable as a file name"):
        check_name(name, "name")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot write in"):
        check_writable(blocked / "zoo")
    check_writable(tmp_path / "zoo")
    assert not list((tmp_path / "zoo").iterdir())


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 3 * 2**20 + 5])
def test_a_regular_file_is_read_whole(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "file").write_bytes(content)
    assert read_regular(tmp_path / "file") == content


def test_a_file_that_tells_no_size_is_read_too() -> None:
    path = Path("/proc/self/cmdline")
    assert path.stat().st_size == 0
    assert read_regular(path) == path.read_bytes() != b""


def test_a_short_read_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)))
    read = os.read
    monkeypatch.setattr("slurm.files.os.read", lambda file, size: read(file, min(size, 7)))
    assert read_regular(tmp_path / "file") == bytes(range(256))


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(tmp_path / name)
