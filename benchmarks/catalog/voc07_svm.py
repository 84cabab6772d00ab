"""VOC07 linear SVM: the columns Best Layer and SVM of its table."""

from benchmarks.catalog.benchmark import Benchmark, ZooTable, voc_svm_item
from benchmarks.catalog.images import SCENE, SQUASHED
from benchmarks.protocols import SvmProtocol
from benchmarks.results import VocSvmRecord

_POWERS_OF_TWO = tuple(0.5**power for power in range(4, 20))
COSTS_MMSELFSUP = tuple(sorted((*_POWERS_OF_TWO, 1.0, 10.0, 100.0)))
COSTS_FAIR = tuple(sorted((*_POWERS_OF_TWO, *(10.0**power for power in range(-7, 3)))))
COSTS_DIGITS = tuple(0.5**power for power in (12, 8, 4, 0))
COSTS_VISSL = (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)

VOC07_SVM = SvmProtocol("voc07_svm", "mmselfsup", COSTS_MMSELFSUP, SQUASHED)
VISSL_VOC07_SVM = SvmProtocol("vissl_voc07_svm", "vissl", COSTS_VISSL, SQUASHED)
FAIR_VOC07_SVM = SvmProtocol("fair_voc07_svm", "fair", COSTS_FAIR, SQUASHED)
DIGITS_VOC07_SVM = SvmProtocol("digits_voc07_svm", "digits", COSTS_DIGITS, SCENE, 1024)

TABLE = ZooTable("voc-svm", "VOC SVM / Low-shot SVM", layout="best layer")
BENCHMARK = Benchmark(
    name="voc07_svm",
    dataset="voc07",
    protocols=(VOC07_SVM, VISSL_VOC07_SVM, FAIR_VOC07_SVM, DIGITS_VOC07_SVM),
    item=voc_svm_item,
    record=VocSvmRecord,
    table=TABLE,
    columns=("Best Layer", "SVM"),
    figures=None,
    part="SVM",
)
