"""ImageNet k-NN on average-pooled features: a table of its own, as the 0.x zoo pages print it."""

from benchmarks.catalog.benchmark import Benchmark, ZooTable, knn_item
from benchmarks.catalog.images import CENTRE_CROP, DIGIT
from benchmarks.knn.record import KnnRecord, top1_by_k
from benchmarks.protocols import KnnProtocol

IMAGENET_KNN = KnnProtocol("knn_imagenet", "mmselfsup", CENTRE_CROP)
DIGITS_KNN = KnnProtocol("digits_knn_imagenet", "digits", DIGIT)

BENCHMARK = Benchmark(
    name="imagenet_knn",
    dataset="imagenet",
    protocols=(IMAGENET_KNN, DIGITS_KNN),
    item=knn_item,
    record=KnnRecord,
    table=ZooTable("imagenet-knn", "ImageNet Nearest-Neighbor Classification", decimals=1),
    columns=tuple(f"k={k}" for k in IMAGENET_KNN.ks),
    figures=top1_by_k,
    part="k-NN",
)
