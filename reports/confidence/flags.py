"""The flags of python -m reports compare; --help needs nothing else."""

import argparse
from collections.abc import Sequence

from slurm.cli import Parser, add_zoo_flag, output_path

DESCRIPTION = """\
Compare checkpoints with the first one, column by column, on the same test images.

Every difference has its paired 95 % interval (percentile bootstrap over the test images, all
rows resampled alike; in low-shot columns over the draws too) and a p-value, also adjusted for the
number of columns (Holm). The spread over seeds of probes or of pretraining is another matter: it
is not in these intervals."""


def read_flags(argv: Sequence[str]) -> argparse.Namespace:
    """The command's flags."""
    parser = Parser(prog="python -m reports compare", description=DESCRIPTION)
    parser.add_argument("first", metavar="A", help="the checkpoint that others are compared with")
    parser.add_argument("others", metavar="B", nargs="+", help="one or more others")
    add_zoo_flag(parser)
    parser.add_argument("--variant", metavar="NAME", help="only tables of this variant")
    parser.add_argument(
        "--json", type=output_path, metavar="FILE", help="write the figures there; - is stdout"
    )
    parser.add_argument(
        "--picture", type=output_path, metavar="FILE", help="draw the intervals, as .svg or .png"
    )
    return parser.parse_args(list(argv))
