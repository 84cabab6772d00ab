"""What a user names for output stays what it is, and gets every byte."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from slurm.cli import json_path
from slurm.errors import UserError
from slurm.outputs import check_output, write_output

ROOT = Path(__file__).parents[2]
CONTENT = b'{"a": 1}\n' * 20_000  # more than a pipe takes at once


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.json"
    write_output(path, CONTENT)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()
    assert names(path.parent) == ["a.json"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_keeps_its_mode_and_is_replaced_whole(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old" * 100_000)
    path.chmod(mode)
    with path.open("rb") as reader:
        write_output(path, CONTENT)
        assert reader.read() == b"old" * 100_000  # who reads it sees one or the other
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_links_are_followed(tmp_path: Path) -> None:
    """To a file, to nothing yet, through a folder, and in a chain; they stay links."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.json").write_text("old")
    (tmp_path / "folder").symlink_to("real")
    links = {"one": "real/a.json", "two": "one", "three": "folder/a.json", "new": "real/new.json"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
        write_output(tmp_path / name, name.encode())
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target).read_text() == name
    assert names(tmp_path / "real") == ["a.json", "new.json"]


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_output(path, CONTENT)
    reader.join(timeout=30)
    assert read == [CONTENT]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_device_stays_one(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    for path in (Path("/dev/null"), link):
        write_output(path, CONTENT)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert link.is_symlink()


def test_a_full_device_is_one_line() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_output(Path("/dev/full"), CONTENT)
    assert caught.value.filename == "/dev/full"
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}"])
def test_a_descriptor_is_written_where_it_stands(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.write(b"before ")
        file.flush()
        write_output(Path(name.format(file.fileno(), pid=os.getpid())), b"{}")
        file.write(b" after")
    assert path.read_bytes() == b"before {} after"
    assert names(tmp_path) == ["a"]


def test_descriptors_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with (tmp_path / "a").open() as file, pytest.raises(UserError, match="for reading only"):
        check_output(Path(f"/dev/fd/{file.fileno()}"))
    with pytest.raises(UserError, match="no open file 999"):
        check_output(Path("/dev/fd/999"))
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(UserError, match="whoever read it has ended"):
        write_output(Path(f"/dev/fd/{writer}"), CONTENT)
    os.close(writer)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "needs a file name"),
        ("folder", "is a folder"),
        ("loop", "circle of symbolic links"),
        ("file/a.json", "is no folder that you can write in"),
        ("proc/a.json", "/proc is no folder that you can write in"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_written_is_known_before_the_work(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    (tmp_path / "proc").symlink_to("/proc")  # which says to root that it can be written in
    done = run(f"'{tmp_path / name if name else ''}'")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert reason in done.stderr
    assert not list((tmp_path / "folder").iterdir())


def run(path: str, rest: str = "") -> subprocess.CompletedProcess[str]:
    """A command that writes what `--json` asks for, by a shell that knows `>(...)`."""
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} -m benchmarks.registry list --json {path} {rest}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ZOO": str(ROOT / "docs" / "demo")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_of_the_shell_reads_the_json(tmp_path: Path) -> None:
    done = run(f">(cat >{tmp_path}/a.json)", f"; wait; sleep 0.2; cat {tmp_path}/a.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("]")
    assert not done.stderr
    done = run("/dev/stdout")
    assert done.returncode == 0
    assert done.stdout.startswith("[")


def test_json_path_takes_standard_output() -> None:
    assert json_path("-") == "-"
