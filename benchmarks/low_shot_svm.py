"""VOC07 low-shot SVM on frozen features: the columns k = 1, 2, 4, ... 96 of the model zoo.

python -m benchmarks.low_shot_svm --ckpt NAME --data VOCdevkit/VOC2007
python -m benchmarks.low_shot_svm --features DIR --labels DIR

Five draws of k positives and 19 k negatives a class; the cost is chosen on test, as in all
published figures, and every cost's mAP is kept. Official draws are read from
LABELS/low_shot/labels/train_targets_sample{1..5}_k{k}.npy when they are there. Each (layer, k) is
kept as soon as it exists, so that a killed run continues.
"""

from dataclasses import replace

from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.flags.measuring import add_own_flag, add_rehearse_flag, add_set_flags
from benchmarks.flags.source import add_source_flags
from benchmarks.protocols import LowShotProtocol
from slurm.cli import Parser, add_common_flags, choose, positive, run_command
from slurm.errors import UserError

LOW_SHOT_PROTOCOLS = {
    name: one for name, one in PROTOCOLS.items() if isinstance(one, LowShotProtocol)
}


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.low_shot_svm", description=__doc__ or "")
    add_source_flags(parser, list(LOW_SHOT_PROTOCOLS))
    add_own_flag(parser)
    parser.add_argument(
        "--shots", metavar="K[,K]", help="positives a class (default: the protocol's)"
    )
    parser.add_argument(
        "--samples", type=positive, metavar="N", help="draws (default: the protocol's)"
    )
    add_set_flags(parser, epochs=False, example="costs=1,10 or image.resize=300")
    add_rehearse_flag(parser)
    add_common_flags(parser)
    args = parser.parse_args(argv)

    from benchmarks.catalog.own import on_own_data
    from benchmarks.commands import finish_command
    from benchmarks.overrides import check_set_once, custom
    from benchmarks.svm.low_shot_item import VocLowShot
    from benchmarks.svm.source import find_source

    name = choose(args.protocol or VOC07_LOW_SHOT.name, LOW_SHOT_PROTOCOLS, "low-shot protocol")
    protocol = LOW_SHOT_PROTOCOLS[name]
    if args.shots is not None:
        protocol = replace(protocol, shots=read_shots(args.shots))
    if args.samples is not None:
        protocol = replace(protocol, samples=args.samples)
    flags = {f"shots={args.shots}": f"--shots {args.shots}"} if args.shots is not None else {}
    flags |= {f"samples={args.samples}": f"--samples {args.samples}"} if args.samples else {}
    check_set_once(args.set, flags)
    (protocol,) = custom([on_own_data(protocol, args.own)], args)
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


if __name__ == "__main__":
    run_command(main)
