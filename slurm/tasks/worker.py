"""A fresh process that runs one item of a local sweep: `python -m slurm.tasks.worker PIPE FAILURE`.

The item arrives on the pipe. The pipe stays open as long as the launcher lives; when it closes,
however the launcher died, this process ends itself and everything that it started.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

FAILED = 3  # exit code: the failure file says why
_LENGTH = 8  # bytes of the length that precedes the item


def packed(content: bytes) -> bytes:
    """`content` as `main` reads it from the pipe."""
    return len(content).to_bytes(_LENGTH, "big") + content


def main() -> int:
    """Run the item; 0 when it is done."""
    faulthandler.enable()
    pipe, failure_file = int(sys.argv[1]), Path(sys.argv[2])
    os.set_inheritable(pipe, False)
    content = _read(pipe, int.from_bytes(_read(pipe, _LENGTH), "big"))
    threading.Thread(target=_die_with_launcher, args=(pipe,), daemon=True).start()

    from slurm.failures import failure_of, write_failure
    from slurm.stored.pickles import load_item
    from slurm.sweep import run_item

    key = failure_file.stem
    try:
        item = load_item(content)
        key = item.key
        run_item(item)
    except Exception as error:
        traceback.print_exc()
        write_failure(failure_file, failure_of(key, error))
        return FAILED
    return 0


def _read(pipe: int, count: int) -> bytes:
    content = b""
    while len(content) < count:
        part = os.read(pipe, count - len(content))
        if not part:
            os._exit(1)  # the launcher is gone before the work began
        content += part
    return content


def _die_with_launcher(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    # The whole group: an item may have started processes of its own, such as data loaders.
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
