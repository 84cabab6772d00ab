"""What another method left unfinished under a name."""

from pathlib import Path

from slurm.errors import UserError


def refuse_other_states(state: Path, *own: Path) -> None:
    """`UserError` when the folder of `state` holds one of another method: `METHOD.pt`.

    Or the mark of a restart, which would go on to replace the checkpoint, unless it is one of the
    files that are `own`. The runs would share a log, and the later one would replace the
    checkpoint of the other.
    """
    for other in sorted([*state.parent.glob("*.pt"), *state.parent.glob("restart")]):
        if other.name.split(".")[0] != state.stem and other not in own:
            raise UserError(
                f"{other} is of a run of this name by another method: choose another --name, or "
                "remove it to give that run up"
            )
