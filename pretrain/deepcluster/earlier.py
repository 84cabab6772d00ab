"""Earlier states of a run: what it stood at after its last epochs, beside the present one.

`zoo/state/NAME/deepcluster.epoch-0007.pt`, as many as `--keep` says. A run continues from the
newest of them when the present state is damaged or gone; to go back further, put one in its place.
"""

import re
import shutil
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


def load_newest(
    path: Path, identity: str, restart: str, epochs: int, *, speaks: bool
) -> tuple[Path, State] | None:
    """The state to continue from and its file: `path`, or the newest that is kept and whole.

    A kept one is taken where the present one is damaged, missing or not of the restart under way;
    one of at most `epochs` epochs first. None when the run begins. Raises `UserError` where
    nothing can be taken of what is there, but for a restart, which replaces what is damaged.
    `speaks` says in a line what is not as it should be.
    """
    damaged: UserError | None = None
    foreign: UserError | None = None
    try:
        present = load_state(path, identity, restart)
        if present is not None:
            return path, present
        what = f"{path} is {'not of the restart under way' if path.exists() else 'missing'}"
    except DamagedState as error:
        damaged, what = error, error.what
    kept = earlier_states(path)
    for number in sorted(kept, key=lambda number: number > epochs):
        try:
            found = load_state(kept[number], identity, restart)
        except DamagedState as error:
            damaged = damaged or UserError(f"{what}, and {error}")
        except UserError as error:
            foreign = foreign or UserError(f"{what}, and {error}")
        else:
            if found is not None:
                if speaks:
                    say(f"{what}; goes on from {kept[number]}")
                return kept[number], found
    if foreign:
        raise foreign
    if damaged and not restart:
        raise damaged
    if damaged and speaks:
        say(f"{what}; no whole state of this restart is there, so it begins anew")
    return None
