import os
from pathlib import Path

import pytest

from benchmarks.features.kept import while_unchanged


class Reader:
    """Reads files, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, *paths: Path) -> str:
        self.times += 1
        return " ".join(path.read_text() for path in paths)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.features.kept.SETTLED", -10.0)  # any file has settled


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    return tmp_path / "a", tmp_path / "b"


@pytest.mark.usefixtures("settled")
def test_files_that_stay_as_they_are_are_read_once(paths: tuple[Path, Path]) -> None:
    reader = Reader()
    read = while_unchanged(reader)
    assert [read(*paths), read(*paths), read(paths[1])] == ["one two", "one two", "two"]
    assert reader.times == 2


@pytest.mark.usefixtures("settled")
def test_a_file_of_the_same_size_and_time_is_read_anew(paths: tuple[Path, Path]) -> None:
    read = while_unchanged(Reader())
    assert read(*paths) == "one two"
    known = paths[1].stat()
    paths[1].write_text("six")
    os.utime(paths[1], ns=(known.st_atime_ns, known.st_mtime_ns))
    assert read(*paths) == "one six"
    other = paths[0].with_name("c")
    other.write_text("ten")
    other.replace(paths[0])
    assert read(*paths) == "ten six"


def test_what_was_just_written_may_be_written_again_unseen(paths: tuple[Path, Path]) -> None:
    reader = Reader()
    read = while_unchanged(reader)
    read(*paths)
    read(*paths)
    assert reader.times == 2


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_while_it_is_read_is_not_kept(paths: tuple[Path, Path]) -> None:
    times = 0

    def work(path: Path) -> str:
        nonlocal times
        times += 1
        text = path.read_text()
        path.write_text(text + "!")
        return text

    read = while_unchanged(work)
    assert [read(paths[0]), read(paths[0])] == ["one", "one!"]
    assert times == 2


@pytest.mark.usefixtures("settled")
def test_an_error_is_raised_each_time(paths: tuple[Path, Path]) -> None:
    read = while_unchanged(Reader())
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            read(paths[0].with_name("none"))
