"""Linear probes on a frozen trunk: heads on feature1..feature5, or one on the pooled last stage.

python -m benchmarks.linear_probe --ckpt NAME --protocol NAME --data DIR

The published schedules are 28 to 100 epochs on ImageNet, Places205 and iNaturalist 2018; progress
is saved, so that a killed run continues bit for bit.
"""

import argparse

from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.flags.measuring import (
    add_own_flag,
    add_rehearse_flag,
    add_set_flags,
    folder_flag,
)
from benchmarks.flags.trunk import add_trunk_flags
from benchmarks.protocols import LinearProtocol
from slurm.cli import Parser, add_common_flags, choose, run_command

LINEAR_PROTOCOLS = {
    name: protocol for name, protocol in PROTOCOLS.items() if isinstance(protocol, LinearProtocol)
}


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
    add_own_flag(parser)
    add_set_flags(parser)
    add_trunk_flags(parser)
    add_rehearse_flag(parser)
    add_common_flags(parser)
    args: argparse.Namespace = parser.parse_args(argv)

    from benchmarks.catalog.own import on_own_data
    from benchmarks.commands import finish_command
    from benchmarks.overrides import custom
    from benchmarks.probes.item import probe_item
    from benchmarks.trunks import find_trunk

    protocol = LINEAR_PROTOCOLS[choose(args.protocol, LINEAR_PROTOCOLS, "linear-probe protocol")]
    (protocol,) = custom([on_own_data(protocol, args.own)], args)
    item = probe_item(find_trunk(args), args.data, protocol)
    finish_command(args, [item])


if __name__ == "__main__":
    run_command(main)
