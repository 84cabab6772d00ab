"""How commands end when a path, a stream or the working folder is not as it should be."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.__main__ import main as slurm_main
from slurm.cli import Parser, add_common_flags, add_zoo_flag, choose, run_command
from slurm.errors import SweepError, UserError, one_line, path_error
from slurm.stop import Stopped, Terminated
from slurm.threads import share_of

ROOT = Path(__file__).parents[2]


def bash(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a shell gets of a line in which COMMAND is `python -m`."""
    return subprocess.run(
        ["bash", "-c", line.replace("COMMAND", f"{sys.executable} -m")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


LISTING = "COMMAND benchmarks.registry list --zoo docs/demo"


@pytest.mark.parametrize(
    "closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", "2> >(true)"]
)
def test_closed_streams_are_no_failure(closed: str, tmp_path: Path) -> None:
    done = bash(f"{LISTING} --json {tmp_path}/a.json {closed}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    # No file of ours got the number of a stream, and with it what was printed there.
    assert (tmp_path / "a.json").read_text().startswith("[")


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_a_mistake_without_a_place_to_say_so_is_still_one(closed: str) -> None:
    done = bash(f"COMMAND slurm list --zoo nowhere {closed}")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_named(unbuffered: str) -> None:
    for flag in ("", "--json -"):
        done = bash(f"{LISTING} {flag} >/dev/full", PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == 2
        assert "no room left while writing standard output" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_json_to_a_closed_standard_output_is_refused() -> None:
    done = bash(f"{LISTING} --json - >&-")
    assert done.returncode == 2
    assert "standard output, which is closed" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_is_no_failure(unbuffered: str) -> None:
    done = bash(f"{LISTING} | true; exit ${{PIPESTATUS[0]}}", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command",
    ["reports --help", "reports --zoo docs/demo", "benchmarks protocols", "slurm list --help"],
)
def test_every_command_ends_alike_when_standard_output_is_gone(
    command: str, unbuffered: str
) -> None:
    done = bash(f"COMMAND {command} | true; exit ${{PIPESTATUS[0]}}", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, "")
    done = bash(f"COMMAND {command} >&-", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (0, "")
    done = bash(f"COMMAND {command} >/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no room left while writing standard output")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_is_stale_stays_so_without_a_reader(unbuffered: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<!-- reports:published -->\n<!-- /reports:published -->\n")
    command = f"COMMAND reports --readme {tmp_path}/README.md --check"
    done = bash(f"{command} | true; exit ${{PIPESTATUS[0]}}", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr == "stale; run the same command without --check\n"


def test_a_broken_pipe_of_something_else_is_no_success(tmp_path: Path) -> None:
    """As that of a worker process: the command has not done what it was asked for."""
    program = tmp_path / "program.py"
    program.write_text(
        "from slurm.cli import run_command\n"
        "def main(argv):\n"
        "    raise BrokenPipeError(32, 'Broken pipe')\n"
        "run_command(main)\n"
    )
    done = bash(f"{sys.executable} {program}")
    assert done.returncode == 1


@pytest.mark.parametrize(
    "command",
    [
        "slurm list",
        "benchmarks.registry list",
        "benchmarks.registry list --json a.json",
        "slurm status x",
        "reports",
        "reports --readme a.md",
    ],
)
def test_a_working_folder_that_is_gone(tmp_path: Path, command: str) -> None:
    (tmp_path / "gone").mkdir()
    done = bash(f"cd {tmp_path}/gone && rmdir ../gone && COMMAND {command}", PYTHONSAFEPATH="1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    "command",
    [
        "benchmarks.voc_svm --features {0} --labels {0} --zoo {0}/zoo --device cpu",
        "benchmarks.voc_svm --features {0} --labels {0} --zoo {0}/zoo --device cpu --cluster local",
        "pretrain deepcluster --data {0} --name x --zoo {0}/zoo",
        "benchmarks.registry add {0}/x.pth --name x --zoo {0}/zoo",
    ],
)
def test_a_working_folder_that_is_gone_though_all_paths_are_absolute(
    tmp_path: Path, command: str
) -> None:
    """Intel's MKL looks for it, and ends the process with a line of its own."""
    (tmp_path / "gone").mkdir()
    line = f"cd {tmp_path}/gone && rmdir ../gone && COMMAND {command.format(tmp_path)}"
    done = bash(line, PYTHONSAFEPATH="1")
    assert done.returncode == 2
    assert done.stderr == (
        "error: the working folder is gone: cd to one that is there, and run again\n"
    )


LONG = "x" * 300


@pytest.mark.parametrize(
    "command",
    [
        f"slurm list --zoo {LONG}",
        f"slurm status {LONG}",
        "slurm status ''",
        "slurm list --zoo ''",
        "slurm list --zoo nowhere",
        "slurm list --zoo README.md",
        "benchmarks.registry list --zoo nowhere",
        "benchmarks.registry list --zoo ''",
        "benchmarks.registry list --json ''",
        f"benchmarks.registry list --json {LONG}",
        f"benchmarks.registry add {LONG} --name a --dry-run",
        "benchmarks.registry add README.md --name a --zoo README.md",
        "benchmarks.registry list --zoo docs/demo --json docs",
        f"reports --zoo docs/demo --html {LONG}",
        "reports --zoo docs/demo --html docs",
        "reports --zoo docs/demo --html ''",
        "reports --zoo docs/demo --plots README.md",
        "reports --zoo docs/demo --plots ''",
        f"reports --zoo docs/demo --readme {LONG}",
        "reports --zoo docs/demo --readme docs",
        "pretrain deepcluster --seed 99999999999 --recipe x --data x --name x",
        "pretrain deepcluster --threads 1000000 --recipe x --data x --name x",
    ],
)
def test_a_path_that_cannot_be_is_one_line(command: str) -> None:
    done = bash(f"COMMAND {command}")
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout
    assert ".tmp" not in done.stderr


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENAMETOOLONG, UserError),
        (errno.EISDIR, UserError),
        (errno.EEXIST, UserError),
        (errno.ENOTDIR, UserError),
        (errno.ELOOP, UserError),
        (errno.ENOENT, UserError),
        (errno.ENXIO, UserError),
        (errno.EACCES, UserError),
        (errno.EROFS, UserError),
        (errno.ENOSPC, UserError),
        (errno.EIO, SweepError),
        (errno.ESTALE, SweepError),
        (errno.EMFILE, SweepError),
    ],
)
@pytest.mark.parametrize("path", ["zoo/a.json", b"zoo/a.json", Path("zoo/a.json")])
def test_every_error_of_a_file_is_one_line(
    number: int, kind: type[Exception], path: str | bytes | Path
) -> None:
    error = path_error(OSError(number, os.strerror(number), path))
    assert isinstance(error, kind)
    assert "zoo/a.json" in str(error)
    assert path_error(OSError(errno.EIO, "without a file")) is None


def test_temporary_names_are_not_shown() -> None:
    hidden = "zoo/.a.b.json.4711.0123abcd.tmp"
    error = path_error(OSError(errno.ENOSPC, "full", hidden))
    assert str(error) == "no room left while writing zoo/a.b.json: free some space and run again"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n b\t c", "a b c"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\udce9t\udce9", "\\udce9t\\udce9"),
        ("a\u202eb", "a\\u202eb"),
        ("Universität 大学", "Universität 大学"),
    ],
)
def test_messages_are_one_line_that_a_terminal_only_shows(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("flag", "good", "bad"),
    [
        ("--seed", ["0", "4294967295"], ["-1", "4294967296", "1e3", "1.5", "", "9" * 5000]),
        ("--threads", ["1", "1024"], ["0", "-1", "1025", "9" * 30, "x"]),
        ("--jobs", ["1", "1024"], ["0", "-1", "1025", "9" * 30, "x"]),
        ("--nodes", ["1"], ["0", "9" * 30]),
    ],
)
def test_the_range_of_numbers(
    flag: str, good: list[str], bad: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="x", description="")
    add_common_flags(parser)
    for text in good:
        assert getattr(parser.parse_args([flag, text]), flag[2:]) == int(text)
    for text in bad:
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args([f"{flag}={text}"])
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert len(said) < 300


@pytest.mark.parametrize("given", ["", "0", "-3", "x", "²", "1.5", "9" * 6000, "4,2"])
def test_threads_of_the_environment_that_are_no_number(given: str) -> None:
    assert share_of(10_000, {"OMP_NUM_THREADS": given}) == 1
    assert share_of(10_000, {"OMP_NUM_THREADS": "7"}) == 7


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO", "")
    parser = Parser(prog="x", description="")
    add_zoo_flag(parser)
    assert parser.parse_args([]).zoo == Path("zoo")


def test_a_blank_variable_is_refused_like_a_blank_flag(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO", " ")
    parser = Parser(prog="x", description="")
    add_zoo_flag(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([])
    assert "needs the name of a folder" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["status", "resume", "cancel"])
@pytest.mark.parametrize("words", ["RUN --zoo nowhere", "--zoo nowhere RUN"])
def test_a_run_may_stand_behind_the_flags(action: str, words: str) -> None:
    with pytest.raises(UserError, match=r"no run 'RUN'.*nowhere"):
        slurm_main([action, *words.split()])


def test_list_takes_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        slurm_main(["list", "x"])
    assert "list takes no RUN, but 'x' is given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stop", "code", "says"),
    [
        (Stopped("a: saved"), 75, "a: saved"),
        (Terminated(), 143, "by SIGTERM"),
        (Terminated(signal.SIGHUP), 129, "by SIGHUP"),
        (KeyboardInterrupt(), 130, "by Ctrl-C"),
    ],
)
def test_a_stop_that_was_asked_for_is_no_error(
    stop: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: list[str] | None) -> None:
        raise stop

    for flag, how in (("", "again"), ("--resume", "again with --resume")):
        with pytest.raises(SystemExit) as ended:
            run_command(main, flag=flag)
        assert ended.value.code == code
        expected = f"stopped: {says}; run the same command {how} to go on\n"
        assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("foo", ["moco", "dino"], "'foo'; known: moco, dino"),  # nothing that is not like it
        ("mocco", ["moco", "dino"], "'mocco'; did you mean moco? known: moco, dino"),
        ("x", [], "'x'; known: none"),
        ("x", [f"name{n}" for n in range(42)], ", name39 and 2 more"),
        ("x", [f"name{n}" for n in range(200)], "none of the 200 that are known is like it"),
        ("nam7", [f"name{n}" for n in range(200)], "'nam7'; did you mean name7 or "),
    ],
)
def test_an_unknown_name_says_what_is_known(name: str, known: list[str], says: str) -> None:
    with pytest.raises(UserError) as raised:
        choose(name, known, "format")
    assert says in str(raised.value)
    assert str(raised.value).startswith(f"unknown format {name!r}; ")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("benchmarks protocol", "'protocol'; did you mean protocols? known: protocols"),
        ("reports compre a b", "'compre'; did you mean compare? known: compare, reproduce"),
    ],
)
def test_a_subcommand_that_is_misspelt(command: str, says: str) -> None:
    done = bash(f"COMMAND {command}")
    assert (done.returncode, done.stderr) == (2, f"error: unknown subcommand {says}\n")


def test_a_zoo_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slurm_main(["list", "--zoo", str(tmp_path)])
    said = f"no runs in {tmp_path / 'runs'}: --cluster slurm makes them\n"
    assert capsys.readouterr().out == said
