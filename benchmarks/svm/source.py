"""Where an SVM benchmark's features come from: a trunk and VOC2007, or files users have."""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.backbones.taps import tap_names
from benchmarks.datasets.loading import load_dataset
from benchmarks.features.extraction import extract_item
from benchmarks.flags.source import Solver
from benchmarks.images.checking import check_notes
from benchmarks.protocols import LowShotProtocol, SvmProtocol
from benchmarks.results import Checkpoint, Split, key_of, spelled
from benchmarks.svm.namesakes import note_namesakes
from benchmarks.trunks import Trunk, find_trunk
from slurm.cli import choose
from slurm.errors import UserError
from slurm.files import check_name
from slurm.sweep import Item
from slurm.threads import share_of

if TYPE_CHECKING:
    from msgspec import Raw

    from benchmarks.features.files import LayerData
    from benchmarks.features.labels import Convention

LAYERS = ("feature1", "feature2", "feature3", "feature4", "feature5")


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
    dataset: str = "voc07"  # as protocols name it
    seed: int = 0
    device: str = "auto"
    solver: Solver = "gram"
    convention: "Convention | None" = None  # of the label files; None for those of an extraction
    classes: tuple[str, ...] = ()  # that the label files name otherwise than any others would be
    notes: tuple[str, ...] = ()  # what a reader of the record must know of the trunk or the labels
    decode: str = "pil"  # one of flags.trunk.DECODERS

    @property
    def data(self) -> dict[str, Split]:
        """The fingerprints by split, as a record has them."""
        return dict(zip(("trainval", "test"), self.splits))

    def all_notes(self) -> tuple[str, ...]:
        """`notes`, and what a check of the images found."""
        return (*self.notes, *check_notes(self.zoo, self.dataset, self.data))

    @cached_property
    def folder(self) -> Path:
        """Below which the results of this checkpoint lie."""
        return self.zoo / "results" / self.checkpoint.name

    @property
    def files_by_layer(self) -> dict[str, str]:
        """What the features of each layer are of."""
        return dict(zip(self.layers, self.identities))

    def inputs(self, layer: str) -> tuple[object, ...]:
        """All that a layer's result depends on beside the protocol, for its file name."""
        identity = self.files_by_layer[layer]
        stated: tuple[object, ...] = ("voc",) if self.convention == "voc" else ()
        stated = (*stated, {"classes": self.classes}) if self.classes else stated
        return (layer, identity, self.splits, self.seed, self.solver, *stated)

    @cached_property
    def spelled_inputs(self) -> "dict[str, Raw]":
        """The inputs of each layer as they stand in a key."""
        return {layer: spelled(self.inputs(layer)) for layer in self.layers}

    def engine_of(self, layer: str) -> str:
        """What two benchmarks share that are of one layer of the same features."""
        return f"{self.features}/{layer}"

    def read(self, layer: str) -> "LayerData":
        """Open and check a layer's files; `UserError` when users changed them since the plan."""
        from benchmarks.features.files import read_layer
        from benchmarks.svm import planned

        if self.convention is None:
            planned.require_extracted(self.features, layer)
            return read_layer(self.features, self.labels, layer)
        planned.require_layer(self.features, layer, self.files_by_layer[layer])
        data = read_layer(self.features, self.labels, layer, self.convention)
        planned.require_labels(self.labels, (data.train_labels, data.test_labels), self.splits)
        planned.require_names(self.labels, data.classes, self.classes)
        return data


def trunk_source(
    trunk: Trunk,
    data: Path,
    protocol: SvmProtocol | LowShotProtocol,
    layers: tuple[str, ...] | None = None,
    solver: Solver = "gram",
) -> Source:
    """Features that one extraction leaves, shared by both benchmarks and all layers.

    `layers` None takes all that the trunk has; `UserError` for one that it has not, and for a class
    of the dataset that is too small.
    """
    from benchmarks.svm.classes import require_classes, said_of

    taps = tap_names(trunk.checkpoint.arch or "")
    layers = layers or taps
    for layer in layers:
        if layer not in taps:
            raise UserError(
                f"{trunk.checkpoint.arch} has no {layer}: choose --layers from {','.join(taps)}"
            )
    extract = extract_item(trunk, data, protocol)
    trainval, test = extract.splits
    with said_of(trunk.checkpoint.name, protocol):
        require_classes(data, protocol)
    return Source(
        zoo=trunk.zoo,
        features=extract.directory,
        labels=extract.directory,
        checkpoint=trunk.checkpoint,
        splits=(trainval, test),
        layers=layers,
        identities=(extract.directory.name,) * len(layers),
        needs=(extract,),
        dataset=protocol.dataset,
        notes=(*trunk.notes, *load_dataset(protocol.dataset, data).notes),
        seed=trunk.seed,
        device=trunk.device,
        solver=solver,
        decode=trunk.decode,
    )


def file_source(
    zoo: Path,
    features: Path,
    labels: Path,
    protocol: SvmProtocol | LowShotProtocol,
    *,
    layers: tuple[str, ...] | None = None,
    name: str | None = None,
    label_values: "Convention | None" = None,
    seed: int = 0,
    device: str = "auto",
    solver: Solver = "gram",
) -> Source:
    """Features that are on disk already, fingerprinted by content; `layers` None takes all.

    `label_values` is the user's word for the convention of the label files.
    """
    from benchmarks.datasets.voc07 import other_labels
    from benchmarks.features import files
    from benchmarks.features.labels import (
        find_convention,
        read_classes,
        read_labels,
        telling_names,
    )
    from benchmarks.svm.classes import check_classes, said_of
    from benchmarks.svm.draws import official_folder
    from benchmarks.svm.planned import label_split

    label = _name_of(features, name)
    layers = layers or files.find_layers(features)
    convention, notes = find_convention(labels, label_values)
    for layer in layers:
        files.check_layer(features, labels, layer)
    train_labels, test_labels = (read_labels(labels, x, convention) for x in files.SPLITS)
    if protocol.dataset == "voc07":
        notes += other_labels((train_labels == 1).sum(0), len(train_labels))
    classes = read_classes(labels, train_labels.shape[1])
    drawn = official_folder(labels) is None
    with said_of(label, protocol):
        check_classes(train_labels, test_labels, classes, protocol, drawn=drawn)
    splits = tuple(label_split(one) for one in (train_labels, test_labels))
    paths = [[files.feature_path(features, layer, s) for s in files.SPLITS] for layer in layers]
    with ThreadPoolExecutor(share_of(2, os.environ)) as pool:  # each reads two files at once
        identities = tuple(pool.map(lambda of_layer: files.fingerprint(*of_layer), paths))
    weights = key_of(*zip(layers, identities))
    return Source(
        zoo=zoo,
        features=features.resolve(),
        labels=labels.resolve(),
        checkpoint=Checkpoint(label, None, f"features:{weights}"),
        splits=(splits[0], splits[1]),
        layers=layers,
        identities=identities,
        dataset=protocol.dataset,
        seed=seed,
        device=device,
        solver=solver,
        convention=convention,
        classes=telling_names(classes),
        notes=notes,
    )


def _name_of(features: Path, name: str | None) -> str:
    """How results call the features: the user's word, or the folder's name."""
    if name is not None:
        if name.startswith("random-"):
            raise UserError(f"--name {name} is kept for random trunks; choose another")
        return check_name(name, "--name")
    found = features.resolve().name or "features"
    try:
        if found.startswith("random-"):
            raise UserError(f"the folder's name, {found}, is kept for random trunks")
        return check_name(found, "the folder's name")
    except UserError as error:
        raise UserError(f"{error}; call the features otherwise with --name") from None


def find_source(args: argparse.Namespace, protocol: SvmProtocol | LowShotProtocol) -> Source:
    """The source that the flags describe; `UserError` when they do not name exactly one."""
    layers = _layers(args.layers) if args.layers is not None else None
    if args.features is not None or args.labels is not None:
        if args.ckpt or args.data:
            raise UserError("give --ckpt and --data, or --features and --labels, not both")
        if args.features is None or args.labels is None:
            raise UserError("--features and --labels go together: name both folders")
        for change in args.set:
            if change.startswith(("image.", "image=", "pooled_size=")):
                raise UserError(
                    f"--set {change}: says how features are made, and those in {args.features} are "
                    "made already: leave it out"
                )
        source = file_source(
            args.zoo,
            args.features,
            args.labels,
            protocol,
            layers=layers,
            name=args.name,
            label_values=args.label_values,
            seed=args.seed,
            device=args.device,
            solver=args.solver,
        )
        note_namesakes(source.folder, source.files_by_layer)
        return source
    if not args.ckpt or args.data is None:
        raise UserError("name what to measure: --ckpt and --data, or --features and --labels")
    if args.name is not None:
        raise UserError("--name is for --features; a checkpoint has its own name")
    if args.label_values is not None:
        raise UserError("--label-values is for --labels; VOC's lists are read by their own values")
    return trunk_source(find_trunk(args), args.data, protocol, layers, args.solver)


def _layers(text: str) -> tuple[str, ...]:
    if not text.strip(" ,"):
        raise UserError(f"--layers {text!r} is empty: name some of {','.join(LAYERS)}")
    chosen = [choose(part.strip(), LAYERS, "layer") for part in text.split(",")]
    return tuple(layer for layer in LAYERS if layer in chosen)
