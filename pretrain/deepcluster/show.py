"""Pictures of a run: `python -m pretrain.deepcluster.show NAME --data DIR`."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.flags.measuring import folder_flag
from slurm.cli import Parser, add_zoo_flag, positive, run_command, seed
from slurm.errors import UserError
from slurm.files import check_name, check_writable, write_bytes, write_text

if TYPE_CHECKING:
    from benchmarks.datasets.splits import ImageSplit
    from pretrain.deepcluster.watching.page import Figure
    from pretrain.deepcluster.watching.purity import Cluster
    from pretrain.deepcluster.watching.run_files import RunFiles

MOST_ROWS = 1000  # of the table of clusters


def main(argv: list[str] | None = None) -> None:
    """The command."""
    args = _parser().parse_args(argv)
    check_name(args.name, "NAME")
    from pretrain.deepcluster.watching.page import page_of
    from pretrain.deepcluster.watching.run_files import read_run
    from pretrain.images import read_images

    run = read_run(args.zoo, args.name)
    epochs = len(run.history.get("loss", []))
    if args.epoch is not None and args.epoch > epochs:
        raise UserError(f"--epoch {args.epoch}: {args.name} has {epochs} epochs so far: name one")
    images = None
    if args.data is not None:
        images = read_images(args.data)
        if images.fingerprint().sha256 != run.images:
            raise UserError(f"{args.data} holds other images than {args.name} was trained on")
    output = args.output or run.log.parent / "pictures"
    check_writable(output, "--output")
    figures: list[Figure] = []
    table: list[tuple[str, ...]] = []
    for figure in _figures(args, run, images, table):
        write_bytes(output / f"{figure.name}.png", figure.png)
        print(output / f"{figure.name}.png")
        figures.append(figure)
    said = f"DeepCluster, {epochs} epochs, {'registered' if run.finished else 'by its state'}"
    page = page_of(args.name, said, figures, run.numbers, table)
    write_text(output / "index.html", page)
    print(output / "index.html")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m pretrain.deepcluster.show",
        description="Draw a run of DeepCluster, finished or under way: its curves, the filters of "
        "the first layer and, with --data, its clusters; PNG files and a page of them.",
    )
    parser.add_argument("name", metavar="NAME", help="of the checkpoint")
    parser.add_argument(
        "--data", type=folder_flag, metavar="DIR", help="the images that it was trained on"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder (default: ZOO/logs/NAME/pictures)"
    )
    parser.add_argument(
        "--epoch", type=positive, metavar="N", help="whose clusters are drawn (default: the last)"
    )
    parser.add_argument(
        "--clusters", type=positive, default=16, metavar="N", help="rows of the sheet (default: 16)"
    )
    parser.add_argument(
        "--images", type=positive, default=12, metavar="N", help="images of a row (default: 12)"
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="which images of a cluster (default: 0)"
    )
    add_zoo_flag(parser)
    return parser


def _figures(
    args: argparse.Namespace,
    run: "RunFiles",
    images: "ImageSplit | None",
    table: list[tuple[str, ...]],
) -> "Iterator[Figure]":
    from pretrain.deepcluster.watching.drawing import draw_curves
    from pretrain.deepcluster.watching.filters import draw_filters, first_filters
    from pretrain.deepcluster.watching.page import Figure
    from pretrain.deepcluster.watching.run_files import read_log

    history = read_log(run.log)
    if history.get("loss") != run.history.get("loss"):  # it is of a run before, or lags behind
        history = run.history
    if history.get("loss"):
        yield Figure("curves", "By epoch", "What the log says.", draw_curves(history))
    if images is not None:
        yield from _cluster_figures(args, run, images, table)
    weights = first_filters(run.trunk)
    how = "what each does to the grey image, the Sobel filters before it included; "
    how = how if weights.shape[1] == 2 else ""
    yield Figure(
        "filters",
        "Filters of the first layer",
        f"{len(weights)} filters, the strongest first; {how}each on its own scale, grey is zero.",
        draw_filters(weights),
    )


def _cluster_figures(
    args: argparse.Namespace,
    run: "RunFiles",
    images: "ImageSplit",
    table: list[tuple[str, ...]],
) -> "Iterator[Figure]":
    from pretrain.deepcluster.watching import purity
    from pretrain.deepcluster.watching.assignments import (
        assignment_files,
        assignments_folder,
        read_assignment,
    )
    from pretrain.deepcluster.watching.drawing import draw_purity
    from pretrain.deepcluster.watching.page import Figure

    files = assignment_files(assignments_folder(run.log))
    if not files:
        raise UserError(f"{assignments_folder(run.log)} holds no assignment of images to clusters")
    last = [epoch for epoch in files if args.epoch is None or epoch <= args.epoch]
    if not last:
        raise UserError(f"--epoch {args.epoch}: the first clustering is of epoch {min(files)}")
    epoch = last[-1]
    count = len(images.paths)
    labels = read_assignment(files[epoch], count)
    truth = images.labels.astype("int64") if images.classes else None
    clusters = purity.clusters_of(labels, truth)
    table += _table(clusters, images.classes)
    yield Figure(
        "clusters",
        f"Clusters of epoch {epoch}",
        _sheet_caption(len(clusters), min(args.clusters, len(clusters)), bool(images.classes)),
        _sheet(args, images, labels, purity.chosen(clusters, args.clusters)),
    )
    if truth is not None:
        by_epoch = {
            number: purity.mean_purity(purity.clusters_of(read_assignment(path, count), truth))
            for number, path in files.items()
        }
        yield Figure(
            "purity",
            f"Purity of the clusters of epoch {epoch}",
            "The share of a cluster's images that are of its largest class. Labels were seen by "
            "no one in training. The first clustering is of the random network.",
            draw_purity(clusters, by_epoch),
        )


def _sheet_caption(clusters: int, shown: int, labelled: bool) -> str:
    if not labelled:
        return f"{shown} of {clusters} clusters, evenly from the largest to the smallest."
    return (
        f"{shown} of {clusters} clusters, evenly from the purest to the most mixed; images drawn "
        "at random; an orange frame marks those of another class than most."
    )


def _sheet(
    args: argparse.Namespace, images: "ImageSplit", labels: object, shown: "list[Cluster]"
) -> bytes:
    import numpy as np

    from benchmarks.images.decoding import open_image
    from pretrain.deepcluster.watching.contact_sheet import Row, centre_square, draw_sheet

    rows = []
    for cluster in shown:
        draws = np.random.default_rng([args.seed, cluster.number])
        members = np.flatnonzero(labels == np.int64(cluster.number))
        members = np.sort(draws.permutation(members)[: args.images])
        # Those of the largest class first.
        members = members[np.argsort(images.labels[members] != cluster.majority, kind="stable")]
        own = images.labels[members] == cluster.majority
        rows.append(
            Row(
                cluster,
                "" if cluster.majority is None else images.classes[cluster.majority],
                [centre_square(open_image(images.root / images.paths[row])) for row in members],
                [cluster.majority is not None and not right for right in own],
            )
        )
    return draw_sheet(rows, images=args.images)


def _table(clusters: "list[Cluster]", classes: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Cluster, images, purity and class, the largest first."""
    ranked = sorted(clusters, key=lambda one: (-one.images, one.number))[:MOST_ROWS]
    if not classes:
        return [("cluster", "images"), *((str(one.number), f"{one.images:,}") for one in ranked)]
    rows = [
        (
            str(one.number),
            f"{one.images:,}",
            f"{100 * (one.purity or 0.0):.1f}",
            classes[one.majority or 0],
        )
        for one in ranked
    ]
    return [("cluster", "images", "purity (%)", "largest class"), *rows]


if __name__ == "__main__":
    run_command(main)
