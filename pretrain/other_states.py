"""What another method left unfinished under a name."""

from pathlib import Path

from slurm.errors import UserError


def refuse_other_states(state: Path) -> None:
    """`UserError` when the folder of `state` holds one of another method: `METHOD.pt`.

    Or the mark of a restart, which would go on to replace the checkpoint. The runs would share a
    log, and the later one would replace the checkpoint of the other.
    """
    marks = [] if state.stem == "deepcluster" else state.parent.glob("restart")
    for other in sorted([*state.parent.glob("*.pt"), *marks]):
        if other.name.split(".")[0] != state.stem:
            raise UserError(
                f"{other} is of a run of this name by another method: choose another --name, or "
                "remove it to give that run up"
            )
