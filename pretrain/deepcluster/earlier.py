"""Earlier states of a run: what it stood at after its last epochs, beside the present one.

`zoo/state/NAME/deepcluster.epoch-0007.pt`, as many as `--keep` says. A run continues from the
newest of them when the present state cannot be read; to go back further, put one in its place.
"""

import re
import shutil
from contextlib import suppress
from pathlib import Path

from pretrain.deepcluster.state import DamagedState, State, load_state
from slurm.errors import UserError
from slurm.files import atomic_path
from slurm.progress import say

_EPOCH = re.compile(r"\.epoch-(\d{4,})")


def earlier_states(path: Path) -> dict[int, Path]:
    """The kept states beside `path`, by the epochs that were finished, the newest first."""
    found = {
        int(epoch[1]): other
        for other in path.parent.glob(f"{path.stem}.epoch-*{path.suffix}")
        if (epoch := _EPOCH.fullmatch(Path(other.stem).suffix))
    }
    return dict(sorted(found.items(), reverse=True))


def keep_state(path: Path, epoch: int, most: int) -> None:
    """Keep the state in `path`, written after `epoch` epochs, and of those up to it `most`.

    With `most` 0 none is kept and none removed. Those of later epochs stay until they are passed:
    they are of a run that went further, which this one need not reach.
    """
    if not most:
        return
    target = path.with_suffix(f".epoch-{epoch:04d}{path.suffix}")
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)  # no link: damage to one must not reach the other
    passed = [other for number, other in earlier_states(path).items() if number <= epoch]
    for other in passed[most:]:
        other.unlink(missing_ok=True)


def load_newest(path: Path, identity: str, restart: str, *, speaks: bool) -> State | None:
    """The state to continue from: the present one, or where it is damaged the newest that is not.

    None when there is none. Raises `UserError` as `load_state` does; `speaks` says when an
    earlier one is taken.
    """
    try:
        return load_state(path, identity, restart)
    except DamagedState as error:
        for other in earlier_states(path).values():
            with suppress(UserError):
                found = load_state(other, identity, restart)
                if found is not None:
                    if speaks:
                        say(f"{error.what}; goes on from {other}")
                    return found
        raise
