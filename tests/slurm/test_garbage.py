"""Whatever lies in a run's folder: commands that look say one line, and go on with the others."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm.__main__ import main
from slurm.errors import SweepError, UserError, path_error
from slurm.runs import ArrayRecord, Run, create_run
from slurm.scheduler.settings import ClusterSettings, request_for
from slurm.sweep import missing_stages
from tests.slurm.fake_slurm import chain

DEEP = b"[" * 100_000 + b"]" * 100_000
GARBAGE: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "no UTF-8": lambda path: path.write_bytes(b'{"run": "\xff", "key": "\xff", "label": "\xff"}'),
    "no UTF-8 in a list": lambda path: path.write_bytes(b'[{"result": "\xff"}]'),
    "text": lambda path: path.write_text("hello"),
    "another JSON": lambda path: path.write_text('{"a": [1, null]}'),
    "a list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_bytes(DEEP),
    "deep within": lambda path: path.write_bytes(b'{"run": "x", "more": ' + DEEP + b"}"),
    "a folder": lambda path: path.mkdir(),
    "a fifo": lambda path: os.mkfifo(path),
    "a loop": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/full"),
    "nowhere": lambda path: path.symlink_to("nowhere"),
}
FILES = ("manifest.json", "items/0.json", "items/0.bin", "launcher.json", "cancelled")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with an array, on a SLURM whose queue is empty."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    tables = {
        "squeue": "NAME|ARRAY_TASK_ID|STATE|JOBID|REASON",
        "sacct": "JobID|JobName|State|ExitCode",
    }
    for name in ("sbatch", "srun", "scancel", *tables):
        (bin_folder / name).write_text(f"#!/bin/sh\necho '{tables.get(name, '')}'\n")
        (bin_folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    stages = missing_stages(chain(Path("a"), width=2))
    requests = [request_for(ClusterSettings(), s.name, s.resources, 0) for s in stages]
    made = create_run(tmp_path / "zoo" / "runs", stages, requests, goals="", threads=None)
    made.write_array(ArrayRecord("0-0-a", f"{made.name}.0-0-a", 0, [0, 1], 1.0, "7"))
    return made


def ends_well(words: list[str]) -> None:
    """The command works, or says one line that its user can act on."""
    said: Exception | None = None
    try:
        main(words)
    except (UserError, SweepError, OSError) as error:
        said = error
    # Of an OSError that names a file, run_command makes one line.
    line = path_error(said) if isinstance(said, OSError) else said
    assert not isinstance(said, OSError) or line is not None
    assert len(str(line)) < 1000


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("name", [*FILES, "arrays/0-0-a.json", "failures/0-0-a-0.json"])
def test_garbage_in_place_of_a_file(
    run: Run, kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.folder / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    GARBAGE[kind](path)
    main(["list", "--zoo", "zoo"])
    listed = run.name in capsys.readouterr().out
    assert listed or (name == "manifest.json" and kind in ("a loop", "nowhere", "nothing"))
    ends_well(["status", str(run.folder)])
    ends_well(["cancel", str(run.folder)])


def test_a_damaged_run_does_not_hide_the_others(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("noise", "a folder", "a fifo", "deep"):
        folder = run.folder.parent / kind.replace(" ", "-")
        folder.mkdir()
        GARBAGE[kind](folder / "manifest.json")
    main(["list", "--zoo", "zoo"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert sum("manifest.json is damaged" in line for line in lines) == 4
    assert any(line.startswith(f"{run.name}  5 items  ") for line in lines)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 10**9, 2**63 - 1, -(2**63), 1.5, 1e300]),
    st.sampled_from(["", "x", "\0", "/", "../..", "\x1b[2J", "é" * 3000]),
    st.just([]),
    st.just({}),
)


def changed(value: Any, data: st.DataObject) -> Any:
    """`value` with one part of it, anywhere, replaced, removed or doubled."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value)))
        return value | {key: changed(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(value) - 1))
        how = data.draw(st.sampled_from(["changed", "removed", "doubled"]))
        if how == "changed":
            return [*value[:place], changed(value[place], data), *value[place + 1 :]]
        return value[:place] + value[place + 1 :] if how == "removed" else value + value[place:]
    return data.draw(VALUES)


@pytest.mark.parametrize(
    "name", ["manifest.json", "items/0.json", "arrays/0-0-a.json", "launcher.json"]
)
@given(data=st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_part_of_a_file_that_is_not_as_it_was(run: Run, name: str, data: st.DataObject) -> None:
    path = run.folder / name
    os.chdir(run.folder.parents[2])  # an earlier manifest may have led us elsewhere
    if name == "launcher.json":
        run.renew_launcher("x")
    whole = path.read_bytes()
    try:
        path.write_text(json.dumps(changed(json.loads(whole), data)))
        main(["list", "--zoo", "zoo"])
        ends_well(["status", str(run.folder)])
        Run(run.folder).other_launcher("y")
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("part", ["folder", "command", "goals", "run", "host", "created"])
@pytest.mark.parametrize("text", ["é" * 3000, "\0" * 3000, "/" + "x" * 90_000])
def test_a_long_text_in_a_manifest_is_cut(run: Run, part: str, text: str) -> None:
    manifest = json.loads((run.folder / "manifest.json").read_bytes())
    (run.folder / "manifest.json").write_text(json.dumps(manifest | {part: text}))
    ends_well(["status", str(run.folder)])


def test_what_a_manifest_says_is_shown_and_not_obeyed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((run.folder / "manifest.json").read_bytes())
    manifest["command"] = "\x1b]0;title\x07\x1b[2J python\nnext line " + "x" * 9000
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    main(["list", "--zoo", "zoo"])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\x07" not in said
    assert len(said.splitlines()) == 1
    assert len(said) < 800
