"""What every command shares: the common flags, one-line errors, exit codes 0, 1 and 2."""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from slurm.errors import SweepError, UserError, check_working_folder, one_line, path_error
from slurm.outputs import check_output
from slurm.stop import Stopped, Terminated, ended_by_sigterm
from slurm.streams import STDOUT, give_up_stdout, safe_streams, was_closed

MOST = 10**9  # of a number that is no seed
MOST_SEED = 2**32 - 1  # scikit-learn's and NumPy's; torch and faiss take what is derived of it
MOST_PROCESSES = 1024
MOST_NAMED = 100  # names that are worth listing,
MOST_SHOWN = 40  # of them these
Main = Callable[[list[str] | None], None]
AGAIN = "run the same command again"
STOPPED = 75  # EX_TEMPFAIL: saved on request, run the same command again


class Parser(argparse.ArgumentParser):
    """argparse with one line (and exit code 2) for a wrong flag; no abbreviated flags."""

    def __init__(self, *, prog: str, description: str, **options: Any) -> None:
        """`options` are argparse's: it passes some of its own to the parsers of subcommands."""
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, but a stream that cannot be written is no silence."""
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument --sbatch: expected one argument"):
            message += ", KEY=VALUE; write one that begins with dashes as --sbatch=KEY=VALUE"
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that all commands which compute something take."""
    group = parser.add_argument_group("common flags")
    add_zoo_flag(group)
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where tensors live (default: auto, cuda when there is one)",
    )
    group.add_argument("--seed", type=seed, default=0, help="seed of every draw (default: 0)")
    group.add_argument(
        "--json",
        type=json_path,
        metavar="PATH",
        help="also write the result here, or the plan of a --dry-run; - is standard output",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="say what would run and what is done already"
    )
    add_launch_flags(parser)


def add_zoo_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--zoo`, which defaults to the environment variable ZOO, then to ./zoo."""
    parser.add_argument(
        "--zoo",
        type=folder_path,
        metavar="DIR",
        default=os.environ.get("ZOO") or "zoo",  # argparse checks it like a flag's
        help="checkpoints, results and caches (default: $ZOO, else ./zoo)",
    )


def add_launch_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose where the items of a sweep run."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "--cluster",
        choices=("inline", "local", "slurm"),
        default="inline",
        help="this process, processes of this machine, or SLURM job arrays (default: inline)",
    )
    group.add_argument(
        "--jobs",
        type=processes,
        metavar="N",
        help="with --cluster local: processes at once (default 2)",
    )
    group.add_argument(
        "--threads",
        type=processes,
        default=None,
        metavar="N",
        help="CPU threads per process (default: all cores; with --cluster local, cores / jobs). "
        "The same number gives the same bits everywhere",
    )
    _add_slurm_flags(parser.add_argument_group("with --cluster slurm"))


def _add_slurm_flags(group: argparse._ActionsContainer) -> None:
    """Add the flags of `ClusterSettings`; each may stand in a TOML file instead."""
    group.add_argument(
        "--cluster-config", type=Path, metavar="FILE.toml", help="these settings, in a file"
    )
    for name in ("partition", "account", "qos"):
        group.add_argument(f"--{name}", metavar="NAME", help=f"SLURM's {name}")
    group.add_argument("--nodes", type=positive, metavar="N", help="nodes of a distributed task")
    group.add_argument(
        "--gpus-per-node",
        type=natural,
        metavar="N",
        help="GPUs of a distributed task on each node, one process each; other tasks take one",
    )
    group.add_argument("--cpus-per-task", type=positive, metavar="N", help="cores of a process")
    group.add_argument("--mem-gb", type=positive, metavar="N", help="memory of a task on each node")
    group.add_argument(
        "--time", type=positive, metavar="MINUTES", help="time limit of a task (default: its own)"
    )
    group.add_argument(
        "--array-parallelism", type=positive, metavar="N", help="tasks of an array at once"
    )
    group.add_argument(
        "--sbatch",
        action="append",
        metavar="KEY=VALUE",
        help="any other option of sbatch by its long name without dashes, as in "
        "--sbatch 'constraint=a100&ib' or --sbatch=exclusive=user (with = between, a value may "
        "begin with dashes); true stands for an option without a value; may be repeated",
    )
    group.add_argument(
        "--detach", action="store_true", help="return when all is submitted; see python -m slurm"
    )


def json_path(text: str) -> str:
    """An argparse type: - or a file that can be written, which is better known before the work."""
    if text == "-" and was_closed(1):
        raise argparse.ArgumentTypeError("- is standard output, which is closed")
    if text != "-":
        output_path(text)
    return text


def output_path(text: str) -> Path:
    """An argparse type: a file to write, checked before the work."""
    if not text:
        raise argparse.ArgumentTypeError("needs a file name, but is empty")
    try:
        check_output(Path(text))
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def folder_path(text: str) -> Path:
    """An argparse type: the name of a folder, there or not."""
    if not text.strip():
        raise argparse.ArgumentTypeError("needs the name of a folder, but is empty")
    return Path(text)


def positive(text: str) -> int:
    """An argparse type: a whole number from 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """An argparse type: a whole number from 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least}")
    if number > MOST:
        raise argparse.ArgumentTypeError(f"{text[:40]} is too large; the most is {MOST:,}")
    return number


def seed(text: str) -> int:
    """An argparse type: a seed that every generator takes."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= MOST_SEED:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 0 to 2**32 - 1")
    return number


def processes(text: str) -> int:
    """An argparse type: how many processes or threads."""
    number = positive(text)
    if number > MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"{text} is too many; the most is {MOST_PROCESSES:,}")
    return number


def choose(name: str, known: Iterable[str], what: str) -> str:
    """Return `name` if it is in `known`; else raise `UserError` with what is known and like it."""
    names = list(known)
    if name in names:
        return name
    import difflib

    close = difflib.get_close_matches(name, names, n=3)
    hint = [f"did you mean {' or '.join(close)}?"] if close else []
    if len(names) <= MOST_NAMED:
        more = f" and {len(names) - MOST_SHOWN:,} more" if len(names) > MOST_SHOWN else ""
        hint.append(f"known: {', '.join(names[:MOST_SHOWN]) or 'none'}{more}")
    elif not close:
        hint.append(f"none of the {len(names):,} that are known is like it")
    raise UserError(f"unknown {what} {name!r}; {' '.join(hint)}")


def run_command(main: Main, argv: list[str] | None = None, flag: str = "") -> NoReturn:
    """Run `main` and exit: 0 on success, 2 on a user's mistake (one line), 1 on a failure.

    `flag` is the one with which a command that was stopped goes on, if it takes one.
    """
    # Importing torch makes a million objects, none of them garbage: look for some less often.
    gc.set_threshold(50_000, 20, 20)
    with safe_streams(), ended_by_sigterm():
        code = _exit_code(main, argv, f"{AGAIN} with {flag}" if flag else AGAIN)
    # The interpreter's last collections would walk through all of torch: a third of a second.
    gc.freeze()
    sys.exit(code)


def _exit_code(main: Main, argv: list[str] | None, again: str = AGAIN) -> int:
    code = 0
    try:
        check_working_folder()
        code = _code_of(main, argv)
        sys.stdout.flush()
    except (UserError, SweepError) as error:
        return report_failure(error)
    except Stopped as stopped:
        return _stopped(STOPPED, str(stopped), again)
    except Terminated as ended:
        return _stopped(128 + ended.signal, f"by {ended.signal.name}", again)
    except KeyboardInterrupt:
        return _stopped(128 + signal.SIGINT, "by Ctrl-C", again)
    except OSError as error:
        if error.filename == STDOUT:
            give_up_stdout()
            if isinstance(error, BrokenPipeError):  # its reader has seen enough
                return code
        known = path_error(error)
        if known:
            return report_failure(known)
        import traceback

        traceback.print_exc()
        return 1
    return code


def _code_of(main: Main, argv: list[str] | None) -> int:
    """The exit code that `main` ends with, as argparse does after --help."""
    try:
        main(argv)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise
        return ended.code or 0
    return 0


def report_failure(error: Exception, *, aloud: bool = True) -> int:
    """The exit code of a command that failed by `error`; `aloud` also says why, in one line."""
    code = 2 if isinstance(error, UserError) else 1
    return _fail(code, str(error)) if aloud else code


def _fail(code: int, message: str) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr)
    return code


def _stopped(code: int, message: str, again: str) -> int:
    """A stop that was asked for is no error: say so, and how to go on."""
    print(f"stopped: {one_line(message)}; {again} to go on", file=sys.stderr)
    return code
