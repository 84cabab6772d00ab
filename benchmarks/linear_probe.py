"""Probes on a frozen trunk: linear heads on feature1..feature5 or on the pooled last stage, or
attentive heads on its positions.

python -m benchmarks.linear_probe --ckpt NAME --protocol NAME --data DIR

The published schedules are 28 to 100 epochs on ImageNet, Places205 and iNaturalist 2018; progress
is saved, so that a killed run continues bit for bit. --lr and --weight-decay train heads at other
numbers beside the protocol's own, on the same forward pass: the table shows the protocol's figures
whatever they find, the record holds all.
"""

import argparse
import math
from collections.abc import Callable
from itertools import product

from benchmarks.catalog.further.imagenet_blocks import TWINS
from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.flags.measuring import (
    add_own_flag,
    add_rehearse_flag,
    add_set_flags,
    folder_flag,
)
from benchmarks.flags.trunk import add_trunk_flags
from benchmarks.protocols import LinearProtocol, Point
from slurm.cli import Parser, add_common_flags, choose, run_command
from slurm.errors import UserError

LINEAR_PROTOCOLS = {
    name: protocol for name, protocol in PROTOCOLS.items() if isinstance(protocol, LinearProtocol)
}
MOST_POINTS = 64  # of a grid: the heads of each take as much memory as the protocol's own


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.linear_probe", description=__doc__ or "")
    parser.add_argument(
        "--protocol", required=True, metavar="NAME", help=f"one of {', '.join(LINEAR_PROTOCOLS)}"
    )
    parser.add_argument(
        "--data",
        required=True,
        type=folder_flag,
        metavar="DIR",
        help="folder of the protocol's dataset",
    )
    parser.add_argument(
        "--taps",
        choices=("stages", "blocks"),
        help="blocks: a head on each block of a ViT or a ResNet instead of feature1..feature5, in "
        f"a table of its own (with {' or '.join(TWINS)})",
    )
    parser.add_argument(
        "--lr",
        type=_numbers(zero=False),
        metavar="R[,R]",
        help="learning rates of further heads on the same forward pass, as in 0.003,0.01,0.03; the "
        "table keeps the protocol's own, the record holds the grid (another number for the table: "
        "--set learning_rate=R)",
    )
    parser.add_argument(
        "--weight-decay",
        type=_numbers(zero=True),
        metavar="D[,D]",
        help="weight decays of further heads, each at every --lr",
    )
    add_own_flag(parser)
    add_set_flags(parser)
    add_trunk_flags(parser)
    add_rehearse_flag(parser)
    add_common_flags(parser)
    args: argparse.Namespace = parser.parse_args(argv)

    from benchmarks.catalog.own import on_own_data
    from benchmarks.commands import finish_command
    from benchmarks.overrides import custom
    from benchmarks.probes.item import probe_item, with_grid
    from benchmarks.trunks import find_trunk

    protocol = LINEAR_PROTOCOLS[choose(args.protocol, LINEAR_PROTOCOLS, "linear-probe protocol")]
    protocol = tapped(protocol, args.taps)
    (protocol,) = custom([on_own_data(protocol, args.own)], args)
    item = probe_item(find_trunk(args), args.data, protocol)
    item = with_grid(item, points_from(args, protocol))
    finish_command(args, [item])


def tapped(protocol: LinearProtocol, taps: str | None) -> LinearProtocol:
    """The protocol with heads on what `--taps` names; `UserError` where there is none."""
    if taps in (None, protocol.taps):
        return protocol
    found = TWINS.get(protocol.name) if taps == "blocks" else None
    if found is None:
        raise UserError(
            f"--taps {taps}: {protocol.name} has its heads on {protocol.taps} alone; blocks are of "
            f"--protocol {' or '.join(TWINS)}"
        )
    return found


def points_from(args: argparse.Namespace, protocol: LinearProtocol) -> list[Point]:
    """Every learning rate with every weight decay; what is not given is the protocol's own."""
    if args.lr is None and args.weight_decay is None:
        return []
    if protocol.taps == "positions":
        raise UserError(
            f"--lr and --weight-decay: {protocol.name} has no grid, since its heads are not linear "
            "layers on pooled features; other numbers of its own: --set learning_rate=R"
        )
    rates = args.lr or (protocol.learning_rate,)
    decays = args.weight_decay or (protocol.weight_decay,)
    if len(rates) * len(decays) > MOST_POINTS:
        raise UserError(
            f"--lr and --weight-decay make {len(rates) * len(decays)} points, each with heads of "
            f"its own in memory: at most {MOST_POINTS} go into one run"
        )
    return [Point(*pair) for pair in product(rates, decays)]


def _numbers(*, zero: bool) -> Callable[[str], tuple[float, ...]]:
    """An argparse type: finite numbers between commas, each once; above 0, or from `zero` on."""

    def read(text: str) -> tuple[float, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise argparse.ArgumentTypeError(f"{text!r} leaves out a number: write 0.003,0.01")
        found: list[float] = []
        for part in parts:
            try:
                number = float(part)
            except ValueError:
                raise argparse.ArgumentTypeError(f"{part[:40]!r} is no number") from None
            if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
                least = "from 0" if zero else "above 0"
                raise argparse.ArgumentTypeError(f"{part[:40]} is no finite number {least}")
            if number in found:
                raise argparse.ArgumentTypeError(f"{part[:40]} is named twice")
            found.append(number)
        return tuple(found)

    return read


if __name__ == "__main__":
    run_command(main)
