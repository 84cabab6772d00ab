"""Where an SVM's features come from: a trunk, or files on disk; and how it is solved."""

import argparse
from collections.abc import Sequence
from typing import Literal

from benchmarks.flags.measuring import folder_flag
from benchmarks.flags.trunk import add_forward_flags

Solver = Literal["gram", "liblinear"]
SOLVERS: tuple[Solver, ...] = ("gram", "liblinear")
CONVENTIONS = ("fair", "voc")  # of label files; see `features.labels`


def add_source_flags(parser: argparse.ArgumentParser, protocols: Sequence[str]) -> None:
    """Add the flags that name the features, the layers, the protocol and the solver.

    `protocols` are the names of those that there are, the default first.
    """
    group = parser.add_argument_group("features of a checkpoint")
    group.add_argument(
        "--ckpt", help="a registered name, a checkpoint file, or random:ARCH (random:sobel_ARCH)"
    )
    group.add_argument("--data", type=folder_flag, metavar="DIR", help="VOCdevkit/VOC2007")
    add_forward_flags(parser)
    group = parser.add_argument_group("or features on disk")
    group.add_argument(
        "--features", type=folder_flag, metavar="DIR", help="voc07_{trainval,test}_feat{1..5}.npy"
    )
    group.add_argument(
        "--labels",
        type=folder_flag,
        metavar="DIR",
        help="train_labels.npy and test_labels.npy, images x classes, rows in the order of the "
        "features. Columns are assumed to stand for the same classes, in the same order, in both "
        "(and in classes.json): labels alone cannot show otherwise",
    )
    group.add_argument(
        "--label-values",
        choices=CONVENTIONS,
        help="fair: 1 present, 0 absent, -1 ignore, as FAIR's scripts, VISSL and MMSelfSup write "
        "(default); voc: 1 present, -1 absent, 0 difficult, as VOC's own lists. Low-shot targets "
        "follow the same (voc: 0 not drawn). Files that read like the other are refused; the "
        "record says which was read",
    )
    group.add_argument("--name", help="how results call the features (default: the folder's name)")
    parser.add_argument(
        "--layers",
        metavar="NAME[,NAME]",
        help="feature1 to feature5, separated by commas (default: all there are)",
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help=f"one of {', '.join(protocols)} (default: the first, the model zoo's)",
    )
    parser.add_argument(
        "--solver",
        choices=SOLVERS,
        default="gram",
        help="gram: exact, in seconds (default); liblinear: the reference, in an hour a layer",
    )
