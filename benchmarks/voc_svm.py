"""VOC07 linear SVM on frozen features: the column "SVM" of the model zoo.

python -m benchmarks.voc_svm --ckpt NAME --data VOCdevkit/VOC2007
python -m benchmarks.voc_svm --features DIR --labels DIR

20 classes x 19 costs, chosen by 3-fold cross-validation, for each of feature1..feature5; a layer
takes seconds. Each layer is kept as soon as it exists, so that a killed run continues.
"""

from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.flags.measuring import add_own_flag, add_rehearse_flag, add_set_flags
from benchmarks.flags.source import add_source_flags
from benchmarks.protocols import SvmProtocol
from slurm.cli import Parser, add_common_flags, choose, run_command

SVM_PROTOCOLS = {name: one for name, one in PROTOCOLS.items() if isinstance(one, SvmProtocol)}


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="python -m benchmarks.voc_svm", description=__doc__ or "")
    add_source_flags(parser, list(SVM_PROTOCOLS))
    add_own_flag(parser)
    add_set_flags(parser, epochs=False, example="costs=1,10 or image.resize=300")
    add_rehearse_flag(parser)
    add_common_flags(parser)
    args = parser.parse_args(argv)

    from benchmarks.catalog.own import on_own_data
    from benchmarks.commands import finish_command
    from benchmarks.overrides import custom
    from benchmarks.svm.full_item import VocSvm
    from benchmarks.svm.source import find_source

    name = choose(args.protocol or VOC07_SVM.name, SVM_PROTOCOLS, "SVM protocol")
    (protocol,) = custom([on_own_data(SVM_PROTOCOLS[name], args.own)], args)
    finish_command(args, [VocSvm(find_source(args, protocol), protocol)])


if __name__ == "__main__":
    run_command(main)
