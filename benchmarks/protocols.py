"""What a protocol is: frozen dataclasses whose names are the names in the tables.

The numbers stand with each benchmark, in `benchmarks/catalog`. The default variant, `mmselfsup`, is
OpenSelfSup's = MMSelfSup 0.x's, which produced the published model-zoo tables. `vissl`, `fair` and
`dinov2` are other laboratories' numbers for the same measurement, `ep` are those of efficient
probing, and `digits` is scaled down for
the embedded data. Any change of a number bumps `version`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

Variant = Literal["mmselfsup", "vissl", "fair", "dinov2", "ep", "digits", "custom"]
# The order of lists and tables. What a user changes is the variant custom, of no protocol here.
VARIANTS: tuple[Variant, ...] = ("mmselfsup", "vissl", "fair", "dinov2", "ep", "digits")
PUBLISHED: tuple[Variant, ...] = (
    "mmselfsup",
    "vissl",
    "fair",
    "dinov2",
    "ep",
)  # these claim the real data


@dataclass(frozen=True)
class ImageTransform:
    """How an image becomes a tensor: PIL, bilinear, then mean and standard deviation."""

    crop: int  # side of the square that the trunk sees, pixels
    resize: int | None = None  # short side before cropping, pixels
    squash: bool = False  # resize to crop x crop without keeping the aspect ratio
    random_resized_crop: bool = False  # area 0.08..1, ratio 3/4..4/3
    random_crop: int | None = None  # centre square from which the crop is drawn
    flip: bool = False  # horizontally, with probability one half
    jitter: tuple[float, float, float, float] | None = None  # brightness, contrast, sat., hue
    lighting: float | None = None  # AlexNet's PCA noise, standard deviation
    rotation: float | None = None  # degrees
    greyscale: float | None = None  # probability


@dataclass(frozen=True)
class LinearProtocol:
    """A linear probe on a frozen trunk; the last epoch is reported."""

    name: str
    benchmark: str  # a key of catalog.listed.BENCHMARKS
    dataset: str  # a key of datasets.catalog.DATASETS
    variant: Variant
    train: ImageTransform
    test: ImageTransform
    epochs: int
    milestones: tuple[int, ...]  # step: epochs after which the learning rate is times gamma
    learning_rate: float
    weight_decay: float
    # stages: a head for each of feature1..5; blocks: one for each block; avgpool: one on the pooled
    # last map; positions: attentive heads on the positions of the last map
    taps: Literal["stages", "blocks", "avgpool", "positions"]
    pooled_size: int = 9216  # dimensions a stage is pooled to, at most
    gamma: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    batch_size: int = 256  # over all processes
    batch_norm: Literal["none", "plain", "affine"] = "none"  # before the linear layer
    init_std: float | None = 0.01  # None: torch's default initialisation
    version: int = 1
    optimizer: Literal["sgd", "lars"] = "sgd"
    lars_eta: float | None = None  # see benchmarks.probes.lars
    lars_epsilon: float | None = None
    schedule: Literal["step", "cosine"] = "step"  # by epoch; cosine ends at 0
    evaluate_every: int = 1  # epochs from one evaluation to the next; the last epoch always is
    queries: tuple[int, ...] = ()  # an attentive head for each number of queries
    warmup: int = 0  # epochs in which the learning rate rises linearly


# Fields that came after records had been written, and what they are in records without them.
_LATER = (
    *("optimizer", "lars_eta", "lars_epsilon", "schedule", "evaluate_every"),
    *("queries", "warmup"),
)
ADDED = {field.name: field.default for field in fields(LinearProtocol) if field.name in _LATER}
ADDED_ON_FEATURES = {"feature": "avgpool"}  # of KnnProtocol and LogregProtocol


class Point(NamedTuple):
    """Numbers that the heads of a grid have instead of their protocol's."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class SvmProtocol:
    """VOC07 linear SVM (OpenSelfSup, MMSelfSup `svm_voc07`; protocols of FAIR's benchmark)."""

    name: str
    variant: Variant
    costs: tuple[float, ...]
    image: ImageTransform
    pooled_size: int = 9216
    folds: int = 3
    positive_weight: float = 2.0
    norm_epsilon: float = 1e-5  # features are divided by (L2 norm + this)
    benchmark: str = "voc07_svm"
    dataset: str = "voc07"
    version: int = 1


@dataclass(frozen=True)
class LowShotProtocol:
    """VOC07 low-shot SVM: k positives and 19 k negatives a class, five draws."""

    name: str
    variant: Variant
    costs: tuple[float, ...]
    image: ImageTransform
    shots: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 96)
    samples: int = 5
    negatives_per_positive: int = 19
    pooled_size: int = 9216
    positive_weight: float = 2.0
    norm_epsilon: float = 1e-5
    selection: str = "test"  # the cost is chosen by the mean test mAP, as in all published figures
    benchmark: str = "voc07_low_shot_svm"
    dataset: str = "voc07"
    version: int = 1


@dataclass(frozen=True)
class KnnProtocol:
    """Weighted k-NN on average-pooled features (Wu et al., CVPR 2018; MMSelfSup `knn_imagenet`)."""

    name: str
    variant: Variant
    image: ImageTransform
    ks: tuple[int, ...] = (10, 20, 100, 200)
    temperature: float = 0.07  # a neighbour's vote weighs exp(cosine / temperature)
    temperatures: tuple[float, ...] = (0.02, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0)  # of the record's grid
    dtype: Literal["fp16", "fp32"] = "fp16"  # of the cached features
    benchmark: str = "imagenet_knn"
    dataset: str = "imagenet"
    version: int = 1
    feature: str = "avgpool"  # or cls, feature1..feature5; see features.choice


@dataclass(frozen=True)
class LogregProtocol:
    """Logistic regression on average-pooled features over a path of costs (DINOv2's and DINOv3's).

    The cost is selected on a part of train that is held out of the fits, never on val.
    """

    name: str
    variant: Variant
    image: ImageTransform
    costs: tuple[float, ...]  # C, ascending
    standardise: Literal["none", "zscore"] = "none"  # by mean and deviation over train
    held_out: float = 0.1  # of train, drawn by the seed
    per_class: tuple[int, ...] = (1, 2, 5, 10)  # labels of each class
    fractions: tuple[float, ...] = (0.01, 0.1)  # of the labels of each class, at least one
    samples: int = 5  # draws of every few-label row
    dtype: Literal["fp16", "fp32"] = "fp16"
    benchmark: str = "imagenet_logreg"
    dataset: str = "imagenet"
    version: int = 1
    feature: str = "avgpool"  # or cls, feature1..feature5; see features.choice


Protocol = LinearProtocol | SvmProtocol | LowShotProtocol | KnnProtocol | LogregProtocol

# By type of protocol, the fields that came after records had been written, as above.
LATER: dict[type, Mapping[str, object]] = {
    LinearProtocol: ADDED,
    KnnProtocol: ADDED_ON_FEATURES,
    LogregProtocol: ADDED_ON_FEATURES,
}


def without_later(protocol: Any) -> dict[str, Any]:
    """The fields of a protocol in their order, without later ones at their defaults."""
    later = LATER[type(protocol)]
    values = {field.name: getattr(protocol, field.name) for field in fields(protocol)}
    return {
        name: value for name, value in values.items() if name not in later or value != later[name]
    }
