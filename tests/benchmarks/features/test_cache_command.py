"""`python -m benchmarks.features`: what is cached can be seen and removed, and nothing else."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from benchmarks.features.__main__ import main
from slurm.cli import run_command
from slurm.errors import UserError


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    for name, complete in (("old/voc07-1", True), ("old/voc07-2", False), ("new/voc07-1", True)):
        folder = tmp_path / "zoo/features" / name
        folder.mkdir(parents=True)
        (folder / "voc07_test_feat5.npy").write_bytes(bytes(1_500_000))
        if complete:
            (folder / "complete.json").write_bytes(b"{}")
    return tmp_path / "zoo"


def names(zoo: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    main(["list", "--json", "--zoo", str(zoo)])
    return [one["name"] for one in json.loads(capsys.readouterr().out)]


def test_sizes_and_states_are_listed(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "--zoo", str(zoo)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["1.5", "MB"]
    assert lines[2].endswith("old/voc07-2  (not extracted to the end)")
    assert lines[3] == f"3 in {zoo / 'features'}, 0.00 GB"


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["old"], ["new/voc07-1"]),
        (["o*"], ["new/voc07-1"]),
        (["old/voc07-2", "new"], ["old/voc07-1"]),
        (["*/voc07-1"], ["old/voc07-2"]),
        (["--all"], []),
        (["--all", "--dry-run"], ["new/voc07-1", "old/voc07-1", "old/voc07-2"]),
    ],
)
def test_what_is_named_is_removed(
    zoo: Path, capsys: pytest.CaptureFixture[str], words: list[str], left: list[str]
) -> None:
    main(["remove", *words, "--zoo", str(zoo)])
    assert names(zoo, capsys) == left


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "name what to remove"),
        (["--all", "old"], "name what to remove"),
        (["odl"], "did you mean old"),
        (["../checkpoints"], "unknown name in the feature cache"),
    ],
)
def test_anything_else_is_refused(
    zoo: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        main(["remove", *words, "--zoo", str(zoo)])
    assert len(names(zoo, capsys)) == 3


def test_a_link_out_of_the_cache_is_no_part_of_it(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (zoo / "features/old/link").symlink_to(tmp_path / "mine")
    main(["remove", "--all", "--zoo", str(zoo)])
    assert (tmp_path / "mine").is_dir()


def test_a_missing_zoo_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no zoo"):
        main(["list", "--zoo", str(tmp_path / "none")])


def test_links_and_folders_of_something_else_are_left_alone(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "voc07-1").mkdir(parents=True)
    (elsewhere / "voc07-1" / "mine.npy").write_bytes(b"x")
    (zoo / "features" / "link").symlink_to(elsewhere)
    (zoo / "features" / "new" / "link").symlink_to(elsewhere / "voc07-1")
    for foreign in ("notes.txt", "sub/deep.npy"):
        path = zoo / "features" / "new" / f"with-{Path(foreign).name}" / foreign
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    (zoo / "features/old/voc07-2/.half.npy.1.tmp").write_bytes(b"x")
    assert names(zoo, capsys) == ["new/voc07-1", "old/voc07-1", "old/voc07-2"]
    main(["remove", "--all", "--zoo", str(zoo)])
    assert names(zoo, capsys) == []
    assert (elsewhere / "voc07-1" / "mine.npy").exists()
    assert (zoo / "features/new/with-notes.txt/notes.txt").exists()
    assert (zoo / "features/new/with-deep.npy/sub/deep.npy").exists()


def test_the_list_is_written_where_json_says(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = []
    for words in (["--json"], ["--json", "-"]):
        main(["list", "--zoo", str(zoo), *words])
        listed.append(capsys.readouterr().out)
    main(["list", "--json", str(tmp_path / "list.json"), "--zoo", str(zoo)])
    assert [*listed, (tmp_path / "list.json").read_text()] == [listed[0]] * 3
    assert capsys.readouterr().out.endswith(f"3 in {zoo / 'features'}, 0.00 GB\n")


def test_a_cache_that_is_read_only_is_named_whole(
    zoo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "complete.json")

    monkeypatch.setattr(shutil, "rmtree", refuse)  # as it does, from within the folder
    with pytest.raises(SystemExit, match="2"):
        run_command(main, ["remove", "--all", "--zoo", str(zoo)])
    said = capsys.readouterr()
    folder = zoo / "features/new/voc07-1"
    assert said.err == f"error: no permission for {folder}: Permission denied\n"
    assert not said.out  # nothing was removed
