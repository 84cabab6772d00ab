"""Which of the trunks in a file is taken: by the rule of the project that wrote it, or by name."""

import re
from collections.abc import Sequence

from benchmarks.checkpoints.file_format import Format
from benchmarks.checkpoints.finding.matching import Place, same_tensor
from benchmarks.checkpoints.finding.searching import Trunk
from benchmarks.checkpoints.formats import FORMATS, format_names
from benchmarks.checkpoints.wording import listed, shown
from slurm.cli import choose
from slurm.errors import UserError

UNKNOWN = Format("auto", "", "", "")


def recognise(path: object, keys: Sequence[str], places: list[Place], name: str) -> Format:
    """The project's format that fits, or the one that is asked for; one without a rule if none.

    `keys` stand at the top of the file. Raises `UserError` when the file is not of the format
    `name`.
    """
    if name != "auto":
        choose(name, format_names(), "checkpoint format")
    addresses = [place.address for place in places]
    for format in FORMATS:
        if format.name != name and (name != "auto" or format.common or not format.auto):
            continue
        marked = (any(_within(mark, text) for text in addresses) for mark in format.marks)
        if all(key in keys for key in format.keys) and all(marked):
            return format
    if name == "auto":
        return UNKNOWN
    told_by = next(format.told_by for format in FORMATS if format.name == name)
    raise UserError(f"{path} is not of format {name!r}, which is told by {told_by}")


def choose_trunk(
    path: object, trunks: list[Trunk], format: Format, which: str | None
) -> tuple[Trunk, tuple[str, ...]]:
    """The trunk to take and what to note about the others.

    Raises `UserError`, which lists all, when nothing says which of several different trunks is
    meant.
    """
    if which is not None:
        picked = _named(path, trunks, which)
        reason = f"by --which {shown(which)}"
    elif format.takes:
        picked = _by_rule(path, trunks, format)
        reason = format.rule
    else:
        picked, reason = trunks, ""
    groups = _different(picked)
    if len(groups) > 1:
        raise UserError(
            f"{path} holds several trunks, {listed(picked, 8)}, and nothing says which is meant: "
            f"choose one, such as --which {shown(picked[0].address)}"
        )
    chosen = groups[0][0]
    if which is None:
        _check_copies(path, chosen, trunks, format)
    others = [group[0] for group in _different(trunks) if group[0] is not chosen]
    others = [other for other in others if not _same(chosen, other)]
    if not others:
        return chosen, ()
    note = f"{1 + len(others)} trunks in the file; {shown(chosen.address)} was taken"
    also = ", ".join(str(other) for other in others[:8])
    return chosen, (f"{note}{f': {reason}' if reason else ''}; the others: {also}",)


def common_format(trunk: Trunk) -> Format:
    """The format of a trunk in a file of no known project: by where it lies."""
    first = next(iter(trunk.inside.values())).address
    for format in FORMATS:
        if not format.common or not any(re.fullmatch(one, trunk.address) for one in format.takes):
            continue
        if all(_within(mark, first) for mark in format.marks):
            return format
    raise AssertionError("the last format takes every trunk")


def _within(mark: str, address: str) -> bool:
    """Whether a mark matches at the start of the address or of one of its parts."""
    return bool(re.search(mark if mark.startswith("^") else rf"(?:^|\.)(?:{mark})", address))


def _named(path: object, trunks: list[Trunk], which: str) -> list[Trunk]:
    """The trunks whose address is `which`, or has it as a part where none is."""
    exact = [trunk for trunk in trunks if trunk.address == which]
    part = [trunk for trunk in trunks if f".{which}." in f".{trunk.address}."]
    if exact or part:
        return exact or part
    raise UserError(f"--which {shown(which)}: {path} holds {listed(trunks, 8)} trunks")


def _by_rule(path: object, trunks: list[Trunk], format: Format) -> list[Trunk]:
    for takes in format.takes:
        for pattern in (takes, rf"(?:{takes})\..+"):
            picked = [trunk for trunk in trunks if re.fullmatch(pattern, trunk.address)]
            if picked:
                return picked
    raise UserError(
        f"{path} is of format {format.name!r}, but the trunk that is taken from such files is not "
        f"there; found: {listed(trunks, 8)}; choose one by --which"
    )


def _different(trunks: list[Trunk]) -> list[list[Trunk]]:
    """Groups of trunks that are the same, tensor for tensor; a damaged one is like no other."""
    groups: list[list[Trunk]] = []
    for trunk in trunks:
        group = next((group for group in groups if _same(group[0], trunk)), None)
        if group is None:
            groups.append([trunk])
        else:
            group.append(trunk)
    return groups


def _same(one: Trunk, other: Trunk) -> bool:
    if one is other:
        return True
    if not (one.whole and other.whole) or one.arch != other.arch:
        return False
    return _difference(one, other) is None


def _difference(one: Trunk, other: Trunk) -> str | None:
    """The address of the first tensor of `other` that `one` has otherwise."""
    assert one.match is not None
    assert other.match is not None
    theirs = other.match.tensors
    for name, place in one.match.tensors.items():
        if name in theirs and not same_tensor(place.tensor, theirs[name].tensor):
            return theirs[name].address
    return None


def _check_copies(path: object, chosen: Trunk, trunks: list[Trunk], format: Format) -> None:
    """Refuse a file whose second copy of the trunk is another one."""
    for trunk in trunks:
        if trunk is chosen or not format.copies or not re.fullmatch(format.copies, trunk.address):
            continue
        if not chosen.whole or _same(chosen, trunk):
            continue
        what = _difference(chosen, trunk) or str(trunk)
        raise UserError(
            f"{path}: {shown(what)} differs from the tensor of the backbone that it should be a "
            "copy of; extract one trunk first"
        )
