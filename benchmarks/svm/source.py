"""Where an SVM benchmark's features come from: a trunk and VOC2007, or files users have."""

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.backbones.taps import tap_names
from benchmarks.features.extraction import extract_item
from benchmarks.protocols import LowShotProtocol, SvmProtocol
from benchmarks.results import Checkpoint, Split, key_of
from benchmarks.trunks import Trunk, add_forward_flags, find_trunk
from slurm.cli import choose
from slurm.errors import UserError
from slurm.files import check_name
from slurm.sweep import Item

if TYPE_CHECKING:
    from benchmarks.features.files import LayerData

LAYERS = ("feature1", "feature2", "feature3", "feature4", "feature5")
Solver = Literal["gram", "liblinear"]
SOLVERS: tuple[Solver, ...] = ("gram", "liblinear")


@dataclass(frozen=True)
class Source:
    """Feature and label folders (there once `needs` are done) and what they are of."""

    zoo: Path
    features: Path
    labels: Path
    checkpoint: Checkpoint
    splits: tuple[Split, Split]  # trainval and test
    layers: tuple[str, ...]
    identities: tuple[str, ...]  # one a layer: all that its features depend on
    needs: tuple[Item, ...] = ()
    seed: int = 0
    device: str = "auto"
    solver: Solver = "gram"

    @cached_property
    def folder(self) -> Path:
        """Below which the results of this checkpoint lie."""
        return self.zoo / "results" / self.checkpoint.name

    def inputs(self, layer: str) -> tuple[object, ...]:
        """All that a layer's result depends on beside the protocol, for its file name."""
        identity = self.identities[self.layers.index(layer)]
        return (layer, identity, self.splits, self.seed, self.solver)

    def read(self, layer: str) -> "LayerData":
        """Open and check a layer's files."""
        from benchmarks.features.files import read_layer

        return read_layer(self.features, self.labels, layer)


def trunk_source(
    trunk: Trunk,
    data: Path,
    protocol: SvmProtocol | LowShotProtocol,
    layers: tuple[str, ...] | None = None,
    solver: Solver = "gram",
) -> Source:
    """Features that one extraction leaves, shared by both benchmarks and all layers.

    `layers` None takes all that the trunk has; `UserError` for one that it has not.
    """
    taps = tap_names(trunk.checkpoint.arch or "")
    layers = layers or taps
    for layer in layers:
        if layer not in taps:
            raise UserError(
                f"{trunk.checkpoint.arch} has no {layer}: choose --layers from {','.join(taps)}"
            )
    extract = extract_item(trunk, data, protocol)
    trainval, test = extract.splits
    return Source(
        zoo=trunk.zoo,
        features=extract.directory,
        labels=extract.directory,
        checkpoint=trunk.checkpoint,
        splits=(trainval, test),
        layers=layers,
        identities=(extract.directory.name,) * len(layers),
        needs=(extract,),
        seed=trunk.seed,
        device=trunk.device,
        solver=solver,
    )


def file_source(
    zoo: Path,
    features: Path,
    labels: Path,
    *,
    layers: tuple[str, ...] | None = None,
    name: str | None = None,
    seed: int = 0,
    device: str = "auto",
    solver: Solver = "gram",
) -> Source:
    """Features that are on disk already, fingerprinted by content; `layers` None takes all."""
    from benchmarks.features import files
    from benchmarks.features.labels import label_path

    layers = layers or files.find_layers(features)
    for layer in layers:
        files.check_layer(features, labels, layer)
    paths = {split: label_path(labels, split) for split in files.SPLITS}
    splits = tuple(_label_split(paths[split], labels, split) for split in files.SPLITS)
    identities = tuple(
        files.fingerprint(*(files.feature_path(features, layer, s) for s in files.SPLITS))
        for layer in layers
    )
    label = check_name(name or features.resolve().name or "features", "name")
    weights = key_of(*zip(layers, identities))
    return Source(
        zoo=zoo,
        features=features.resolve(),
        labels=labels.resolve(),
        checkpoint=Checkpoint(label, None, f"features:{weights}"),
        splits=(splits[0], splits[1]),
        layers=layers,
        identities=identities,
        seed=seed,
        device=device,
        solver=solver,
    )


def _label_split(path: Path, folder: Path, split: str) -> Split:
    """The hash is of the label file itself: these users have no list of images."""
    import hashlib

    from benchmarks.features.labels import read_labels

    labels = read_labels(folder, split)
    digest = hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()
    return Split(labels.shape[0], labels.shape[1], digest)


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name the features, the layers, the protocol and the solver."""
    group = parser.add_argument_group("features of a checkpoint")
    group.add_argument(
        "--ckpt", help="a registered name, a checkpoint file, or random:ARCH (random:sobel_ARCH)"
    )
    group.add_argument("--data", type=Path, metavar="DIR", help="VOCdevkit/VOC2007")
    add_forward_flags(parser)
    group = parser.add_argument_group("or features on disk")
    group.add_argument(
        "--features", type=Path, metavar="DIR", help="voc07_{trainval,test}_feat{1..5}.npy"
    )
    group.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="train_labels.npy and test_labels.npy: 1 present, 0 absent, -1 ignore",
    )
    group.add_argument("--name", help="how results call the features (default: the folder's name)")
    parser.add_argument(
        "--layers",
        metavar="NAME[,NAME]",
        help="feature1 to feature5, separated by commas (default: all there are)",
    )
    parser.add_argument("--protocol", metavar="NAME", help="default: the model zoo's")
    parser.add_argument(
        "--solver",
        choices=SOLVERS,
        default="gram",
        help="gram: exact, in seconds (default); liblinear: the reference, in an hour a layer",
    )


def find_source(args: argparse.Namespace, protocol: SvmProtocol | LowShotProtocol) -> Source:
    """The source that the flags describe; `UserError` when they do not name exactly one."""
    layers = _layers(args.layers) if args.layers is not None else None
    if args.features is not None or args.labels is not None:
        if args.ckpt or args.data:
            raise UserError("give --ckpt and --data, or --features and --labels, not both")
        if args.features is None or args.labels is None:
            raise UserError("--features and --labels go together: name both folders")
        return file_source(
            args.zoo,
            args.features,
            args.labels,
            layers=layers,
            name=args.name,
            seed=args.seed,
            device=args.device,
            solver=args.solver,
        )
    if not args.ckpt or args.data is None:
        raise UserError("name what to measure: --ckpt and --data, or --features and --labels")
    if args.name:
        raise UserError("--name is for --features; a checkpoint has its own name")
    return trunk_source(find_trunk(args), args.data, protocol, layers, args.solver)


def _layers(text: str) -> tuple[str, ...]:
    chosen = [choose(part.strip(), LAYERS, "layer") for part in text.split(",")]
    return tuple(layer for layer in LAYERS if layer in chosen)


def record_fields(
    source: Source, protocol: SvmProtocol | LowShotProtocol, settings: dict[str, Any]
) -> dict[str, Any]:
    """The fields of a record that the source and the protocol fill."""
    return {
        "benchmark": protocol.benchmark,
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "variant": protocol.variant,
        "settings": settings,
        "checkpoint": source.checkpoint,
        "data": dict(zip(("trainval", "test"), source.splits)),
        "seed": source.seed,
    }
