"""Every protocol's numbers, once: frozen dataclasses whose names are the names in the tables.

The default variant, `mmselfsup`, is OpenSelfSup's = MMSelfSup 0.x's, which produced the published
model-zoo tables. `vissl` and `fair` are other laboratories' numbers for the same measurement, and
`digits` is scaled down for the embedded data. Any change of a number bumps `version`.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

Variant = Literal["mmselfsup", "vissl", "fair", "digits", "custom"]


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
    benchmark: str  # a key of results.RECORD_TYPES
    dataset: str  # a key of datasets.catalog.DATASETS
    variant: Variant
    train: ImageTransform
    test: ImageTransform
    epochs: int
    milestones: tuple[int, ...]  # step: epochs after which the learning rate is times gamma
    learning_rate: float
    weight_decay: float
    taps: Literal["stages", "avgpool"]  # a head for each of feature1..5, or one on the pooled last
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


# Fields that came after records had been written, and what they are in records without them.
_LATER = ("optimizer", "lars_eta", "lars_epsilon", "schedule", "evaluate_every")
ADDED = {field.name: field.default for field in fields(LinearProtocol) if field.name in _LATER}


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


Protocol = LinearProtocol | SvmProtocol | LowShotProtocol

_POWERS_OF_TWO = tuple(0.5**power for power in range(4, 20))
COSTS_MMSELFSUP = tuple(sorted((*_POWERS_OF_TWO, 1.0, 10.0, 100.0)))
COSTS_FAIR = tuple(sorted((*_POWERS_OF_TWO, *(10.0**power for power in range(-7, 3)))))
COSTS_DIGITS = tuple(0.5**power for power in (12, 8, 4, 0))
COSTS_VISSL = (0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0)

_RRC = ImageTransform(crop=224, random_resized_crop=True, flip=True)
_RRC_JITTER = replace(_RRC, jitter=(0.4, 0.4, 0.4, 0.0), lighting=0.1)
_CENTRE = ImageTransform(crop=224, resize=256)
_RANDOM_CROP = ImageTransform(crop=224, resize=256, random_crop=256, flip=True)
_SQUASH = ImageTransform(crop=224, resize=256, squash=True)
_DIGIT = ImageTransform(crop=32, resize=40)
_DIGIT_SHIFT = ImageTransform(crop=32, resize=40, random_crop=40)
_SCENE = ImageTransform(crop=64, resize=64, squash=True)

IMAGENET_LINEAR = LinearProtocol(
    name="resnet50_mhead_linear-8xb32-steplr-90e_in1k",
    benchmark="imagenet_linear",
    dataset="imagenet",
    variant="mmselfsup",
    train=_RRC_JITTER,
    test=_CENTRE,
    epochs=90,
    milestones=(30, 60),
    learning_rate=0.01,
    weight_decay=1e-4,
    taps="stages",
    nesterov=True,
    batch_norm="plain",
)
PLACES205_LINEAR = replace(
    IMAGENET_LINEAR,
    name="resnet50_mhead_8xb32-steplr-28e_places205",
    benchmark="places205_linear",
    dataset="places205",
    train=_RANDOM_CROP,
    epochs=28,
    milestones=(7, 14, 21),
)
INATURALIST18_LINEAR = replace(
    IMAGENET_LINEAR,
    name="resnet50_mhead_8xb32-steplr-84e_inat18",
    benchmark="inaturalist18_linear",
    dataset="inaturalist18",
    train=_RRC,
    epochs=84,
    milestones=(24, 48, 72),
)
IMAGENET_AVGPOOL = LinearProtocol(
    name="resnet50_linear-8xb32-steplr-100e_in1k",
    benchmark="imagenet_avgpool",
    dataset="imagenet",
    variant="mmselfsup",
    train=_RRC,
    test=_CENTRE,
    epochs=100,
    milestones=(60, 80),
    learning_rate=30.0,
    weight_decay=0.0,
    taps="avgpool",
)
# The settings of SwAV's and of SimSiam's paper, by which MMSelfSup measured some methods' AvgPool.
IMAGENET_AVGPOOL_COSINE = replace(
    IMAGENET_AVGPOOL,
    name="resnet50_linear-8xb32-coslr-100e_in1k",
    milestones=(),
    learning_rate=0.3,
    weight_decay=1e-6,
    schedule="cosine",
    evaluate_every=10,
)
IMAGENET_AVGPOOL_LARS = replace(
    IMAGENET_AVGPOOL_COSINE,
    name="resnet50_linear-8xb512-coslr-90e_in1k",
    epochs=90,
    learning_rate=1.6,
    weight_decay=0.0,
    batch_size=4096,
    optimizer="lars",
    lars_eta=0.001,
    lars_epsilon=1e-8,
)
VOC07_SVM = SvmProtocol("voc07_svm", "mmselfsup", COSTS_MMSELFSUP, _SQUASH)
VOC07_LOW_SHOT = LowShotProtocol("voc07_low_shot_svm", "mmselfsup", COSTS_MMSELFSUP, _SQUASH)

# VISSL eval_resnet_8gpu_transfer_*_linear: BN with scale and shift, torch's default linear init.
VISSL_IMAGENET_LINEAR = replace(
    IMAGENET_LINEAR,
    name="vissl_mhead_linear-28e_in1k",
    variant="vissl",
    train=_RRC,
    epochs=28,
    milestones=(8, 16, 24),
    weight_decay=5e-4,
    batch_norm="affine",
    init_std=None,
)
VISSL_PLACES205_LINEAR = replace(
    VISSL_IMAGENET_LINEAR,
    name="vissl_mhead_linear-14e_places205",
    benchmark="places205_linear",
    dataset="places205",
    epochs=14,
    milestones=(4, 8, 12),
)
VISSL_INATURALIST18_LINEAR = replace(
    VISSL_IMAGENET_LINEAR,
    name="vissl_mhead_linear-84e_inat18",
    benchmark="inaturalist18_linear",
    dataset="inaturalist18",
    epochs=84,
    milestones=(24, 48, 72),
)
VISSL_VOC07_SVM = SvmProtocol("vissl_voc07_svm", "vissl", COSTS_VISSL, _SQUASH)
VISSL_VOC07_LOW_SHOT = LowShotProtocol("vissl_voc07_low_shot_svm", "vissl", COSTS_VISSL, _SQUASH)

# FAIR fair_self_supervision_benchmark, legacy_tasks: 28 epochs, its augmentation, no BN scale.
FAIR_IMAGENET_LINEAR = replace(
    IMAGENET_LINEAR,
    name="fair_mhead_linear-28e_in1k",
    variant="fair",
    epochs=28,
    milestones=(8, 16, 24),
)
FAIR_VOC07_SVM = SvmProtocol("fair_voc07_svm", "fair", COSTS_FAIR, _SQUASH)
FAIR_VOC07_LOW_SHOT = LowShotProtocol("fair_voc07_low_shot_svm", "fair", COSTS_FAIR, _SQUASH)

# The embedded digits: the same procedures on 32-pixel images, in seconds.
DIGITS_IMAGENET_LINEAR = replace(
    IMAGENET_LINEAR,
    name="digits_mhead_linear-3e_in1k",
    variant="digits",
    train=_DIGIT_SHIFT,
    test=_DIGIT,
    epochs=3,
    milestones=(2,),
    batch_size=32,
)
DIGITS_PLACES205_LINEAR = replace(
    DIGITS_IMAGENET_LINEAR,
    name="digits_mhead_linear-3e_places205",
    benchmark="places205_linear",
    dataset="places205",
)
DIGITS_INATURALIST18_LINEAR = replace(
    DIGITS_IMAGENET_LINEAR,
    name="digits_mhead_linear-3e_inat18",
    benchmark="inaturalist18_linear",
    dataset="inaturalist18",
)
DIGITS_IMAGENET_AVGPOOL = replace(
    IMAGENET_AVGPOOL,
    name="digits_linear-4e_in1k",
    variant="digits",
    train=_DIGIT_SHIFT,
    test=_DIGIT,
    epochs=4,
    milestones=(3,),
    learning_rate=0.1,
    batch_size=32,
)
DIGITS_VOC07_SVM = SvmProtocol("digits_voc07_svm", "digits", COSTS_DIGITS, _SCENE, 1024)
DIGITS_VOC07_LOW_SHOT = LowShotProtocol(
    "digits_voc07_low_shot_svm", "digits", COSTS_DIGITS, _SCENE, samples=3, pooled_size=1024
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        VOC07_SVM,
        VOC07_LOW_SHOT,
        IMAGENET_LINEAR,
        IMAGENET_AVGPOOL,
        IMAGENET_AVGPOOL_LARS,
        IMAGENET_AVGPOOL_COSINE,
        PLACES205_LINEAR,
        INATURALIST18_LINEAR,
        VISSL_VOC07_SVM,
        VISSL_VOC07_LOW_SHOT,
        VISSL_IMAGENET_LINEAR,
        VISSL_PLACES205_LINEAR,
        VISSL_INATURALIST18_LINEAR,
        FAIR_VOC07_SVM,
        FAIR_VOC07_LOW_SHOT,
        FAIR_IMAGENET_LINEAR,
        DIGITS_VOC07_SVM,
        DIGITS_VOC07_LOW_SHOT,
        DIGITS_IMAGENET_LINEAR,
        DIGITS_IMAGENET_AVGPOOL,
        DIGITS_PLACES205_LINEAR,
        DIGITS_INATURALIST18_LINEAR,
    )
}
