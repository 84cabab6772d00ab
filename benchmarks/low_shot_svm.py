"""VOC07 low-shot SVM on frozen features: the columns k = 1, 2, 4, ... 96 of the model zoo.

python -m benchmarks.low_shot_svm --ckpt NAME --data VOCdevkit/VOC2007
python -m benchmarks.low_shot_svm --features DIR --labels DIR

Five draws of k positives and 19 k negatives a class; the cost is chosen on test, as in all
published figures, and every cost's mAP is kept. Official draws are read from
LABELS/low_shot/labels/train_targets_sample{1..5}_k{k}.npy when they are there. Each (layer, k) is
kept as soon as it exists, so that a killed run continues.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar

from benchmarks import results
from benchmarks.commands import finish_command
from benchmarks.protocols import PROTOCOLS, VOC07_LOW_SHOT, LowShotProtocol
from benchmarks.svm.source import Source, add_source_flags, find_source, record_fields, trunk_source
from benchmarks.trunks import Trunk
from slurm.cli import Parser, add_common_flags, choose, positive, run_command
from slurm.errors import UserError
from slurm.sweep import Item, Resources

LOW_SHOT_PROTOCOLS = {
    name: protocol for name, protocol in PROTOCOLS.items() if isinstance(protocol, LowShotProtocol)
}


@lru_cache(maxsize=64)
def _one_shot(protocol: LowShotProtocol, k: int) -> LowShotProtocol:
    """The protocol as one part of it sees it, so that a part does not depend on the others."""
    return replace(protocol, shots=(k,))


@dataclass(frozen=True)
class LowShot:
    """All draws and costs of one k on one layer."""

    source: Source
    protocol: LowShotProtocol
    layer: str
    k: int
    draws: str | None = None  # fingerprint of the official label files, if there are any

    stage: ClassVar[str] = "low_shot_svm"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The extraction, if there is one."""
        return self.source.needs

    @cached_property
    def stem(self) -> str:
        """The name of the part's file, without its ending."""
        from benchmarks.svm.parts import part_stem

        inputs = (_one_shot(self.protocol, self.k), self.draws, self.source.inputs(self.layer))
        return part_stem(f"{self.layer}-k{self.k}", *inputs)

    @property
    def result(self) -> Path:
        """The part file."""
        from benchmarks.svm.parts import part_path

        return part_path(self.source, self.protocol.benchmark, self.stem)

    @cached_property
    def key(self) -> str:
        """Name of the item."""
        name = self.source.checkpoint.name
        return f"{name}/{self.protocol.benchmark}/{self.protocol.name}/{self.stem}"

    @property
    def resources(self) -> Resources:
        """One GPU where there is one."""
        return Resources(gpus=int(self.source.device != "cpu"))

    def done(self) -> bool:
        """Whether the part is there and valid."""
        from benchmarks.svm.parts import ShotPart

        return results.is_done(self.result, ShotPart)

    def run(self) -> None:
        """Draw (or read the draws), fit, test, and write the part."""
        from benchmarks.svm.draws import read_or_draw
        from benchmarks.svm.evaluation import evaluate_low_shot
        from benchmarks.svm.parts import ShotPart, running
        from benchmarks.svm.planned import planned_folder

        source, protocol = self.source, self.protocol
        name = f"{source.checkpoint.name} low-shot {self.layer} k={self.k}"
        total = protocol.samples * len(protocol.costs)
        with running(source, self.layer, protocol, name, total) as work:
            data = work.machine.data
            store = source.zoo / "low_shot" / results.key_of(source.splits[0], source.seed)
            targets = read_or_draw(
                planned_folder(source.labels, self.draws, protocol.samples, self.k),
                store,
                data.train_labels,
                data.classes,
                protocol.samples,
                self.k,
                protocol.negatives_per_positive,
                source.seed,
                source.convention or "fair",
            )
            shot = evaluate_low_shot(work.machine, protocol, targets)
            draws = f"official:{self.draws}" if self.draws else f"seed {source.seed}"
            results.write(self.result, ShotPart(shot=shot, draws=draws, **work.fields()))


@dataclass(frozen=True)
class VocLowShot:
    """The record of all layers and k of a source."""

    source: Source
    protocol: LowShotProtocol

    stage: ClassVar[str] = "collect"
    resources: ClassVar[Resources] = Resources(minutes=10)

    @cached_property
    def needs(self) -> tuple[LowShot, ...]:
        """A part a layer and k."""
        draws = _official_draws(self.source, self.protocol)
        return tuple(
            LowShot(self.source, self.protocol, layer, k, draws[k])
            for layer in self.source.layers
            for k in self.protocol.shots
        )

    @cached_property
    def result(self) -> Path:
        """The record."""
        parts = [part.stem for part in self.needs]
        name = f"{self.protocol.name}-{results.key_of(self.protocol, parts)}.json"
        return self.source.folder / self.protocol.benchmark / name

    @property
    def key(self) -> str:
        """Name of the item."""
        return f"{self.source.checkpoint.name}/{self.protocol.benchmark}/{self.result.stem}"

    def done(self) -> bool:
        """Whether the record is there and valid."""
        return results.is_done(self.result, results.LowShotRecord)

    def run(self) -> None:
        """Read the parts and write the record."""
        import msgspec

        from benchmarks.svm.parts import ShotPart, joined

        parts = {item: results.read(item.result, ShotPart) for item in self.needs}
        layers: dict[str, dict[str, results.Shot]] = {}
        for item, part in parts.items():
            layers.setdefault(item.layer, {})[str(item.k)] = part.shot
        settings = msgspec.to_builtins(self.protocol) | {
            "solver": self.source.solver,
            "draws": {str(item.k): part.draws for item, part in parts.items()},
        }
        record = results.LowShotRecord(
            **record_fields(self.source, self.protocol, settings),
            **joined(list(parts.values())),
            notes=(
                *self.source.all_notes(),
                *(
                    f"{item.layer} k={item.k}: {note}"
                    for item, part in parts.items()
                    for note in part.notes
                ),
            ),
            layers={name: results.LowShotLayer(shots) for name, shots in layers.items()},
            selection=self.protocol.selection,
        )
        results.write(self.result, record)


def low_shot_item(trunk: Trunk, data: Path, protocol: LowShotProtocol) -> VocLowShot:
    """The benchmark of a trunk on VOC2007 at `data`; `UserError` when that cannot be read."""
    return VocLowShot(trunk_source(trunk, data, protocol), protocol)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.low_shot_svm", description=__doc__ or "")
    add_source_flags(parser)
    parser.add_argument(
        "--shots", metavar="K[,K]", help="positives a class (default: the protocol's)"
    )
    parser.add_argument(
        "--samples", type=positive, metavar="N", help="draws (default: the protocol's)"
    )
    add_common_flags(parser)
    args = parser.parse_args(argv)
    name = args.protocol or VOC07_LOW_SHOT.name
    protocol = LOW_SHOT_PROTOCOLS[choose(name, LOW_SHOT_PROTOCOLS, "low-shot protocol")]
    if args.shots is not None:
        protocol = replace(protocol, shots=read_shots(args.shots))
    if args.samples is not None:
        protocol = replace(protocol, samples=args.samples)
    finish_command(args, [VocLowShot(find_source(args, protocol), protocol)])


def read_shots(text: str) -> tuple[int, ...]:
    """The k of `--shots`, ascending; `UserError` for what is no list of whole numbers from 1."""
    if not text.strip(" ,"):
        raise UserError(f"--shots {text!r} is empty: name whole numbers from 1, as in 1,2,4")
    try:
        shots = sorted({int(part) for part in text.split(",")})
    except ValueError:
        shots = [0]
    if shots[0] < 1:
        raise UserError(f"--shots {text} is not a list of whole numbers from 1, as in 1,2,4")
    return tuple(shots)


def _official_draws(source: Source, protocol: LowShotProtocol) -> dict[int, str | None]:
    """The fingerprint of the official draws of each k; None when the labels have none.

    `UserError` for a draw that is missing, or is none of these labels.
    """
    from benchmarks.features.files import fingerprint
    from benchmarks.features.labels import read_classes, read_labels
    from benchmarks.svm.draws import draws_path, official_folder, read_official

    folder = None if source.needs else official_folder(source.labels)
    if folder is None:
        return dict.fromkeys(protocol.shots)
    convention = source.convention or "fair"
    labels = read_labels(source.labels, "trainval", convention)
    classes = read_classes(source.labels, labels.shape[1])
    samples = range(1, protocol.samples + 1)
    for k in protocol.shots:
        for sample in samples:
            negatives = protocol.negatives_per_positive
            read_official(folder, labels, classes, sample, k, negatives, convention)
    return {k: fingerprint(*(draws_path(folder, s, k) for s in samples)) for k in protocol.shots}


if __name__ == "__main__":
    run_command(main)
