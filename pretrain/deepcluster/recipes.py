"""The numbers of each DeepCluster run, once; `--recipe` takes these names.

`python -m pretrain deepcluster --recipe NAME --data DIR --name NAME`

The two published recipes are OpenSelfSup's (= MMSelfSup's table row) and the paper's; both need
about 200 to 500 epochs of ImageNet on GPUs. The digits recipe learns in minutes on two CPU cores.
"""

from dataclasses import dataclass
from typing import Literal

from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.protocols import ImageTransform

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the images and the seed."""

    name: str
    arch: str
    train: ImageTransform
    extract: ImageTransform  # for the features that are clustered
    epochs: int
    batch_size: int  # images per step, over all processes
    learning_rate: float
    clusters: int = 10_000
    pca: int = 256  # dimensions that features are whitened to
    kmeans_iterations: int = 20
    interval: int = 1  # epochs from one clustering to the next
    milestones: tuple[int, ...] = ()  # epochs after which the learning rate is multiplied by gamma
    gamma: float = 0.1
    momentum: float = 0.9  # of everything but the classifier, which has none
    weight_decay: float = 1e-5
    sobel: bool = True
    # What is clustered: the average-pooled last stage, or fc7 of AlexNet before its ReLU.
    neck: Literal["avgpool", "fc7"] = "avgpool"
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    config: str = "pretrain/deepcluster/recipes.py"  # what the model-zoo table links to


_CENTRE = ImageTransform(crop=224, resize=256)

# OpenSelfSup configs/selfsup/deepcluster/r50.py; MMSelfSup 0.x
# deepcluster-sobel_resnet50_8xb64-steplr-200e_in1k.py. The step at epoch 400 never comes.
SOBEL_RESNET50 = Recipe(
    name="sobel_resnet50_8xb64-steplr-200e",
    arch="resnet50",
    train=ImageTransform(
        crop=224,
        random_resized_crop=True,
        flip=True,
        rotation=2.0,
        jitter=(0.4, 0.4, 1.0, 0.5),
        greyscale=0.2,
    ),
    extract=_CENTRE,
    epochs=200,
    batch_size=512,  # 8 GPUs of 64; BatchNorm is over each one's share
    learning_rate=0.1,
    milestones=(400,),
)

# facebookresearch/deepcluster main.sh, 500 epochs as in the paper (Caron et al., ECCV 2018).
SOBEL_ALEXNET = Recipe(
    name="alexnet_sobel_b256-500e",
    arch="alexnet",
    train=ImageTransform(crop=224, random_resized_crop=True, flip=True),
    extract=_CENTRE,
    epochs=500,
    batch_size=256,
    learning_rate=0.05,
    neck="fc7",
)

# The embedded digits.
DIGITS = Recipe(
    name="digits_sobel_resnet18-12e",
    arch="resnet18",
    train=ImageTransform(crop=32, resize=40, random_crop=40),
    extract=ImageTransform(crop=32, resize=40),
    epochs=12,
    batch_size=128,
    learning_rate=0.1,
    clusters=100,
    pca=64,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (SOBEL_RESNET50, SOBEL_ALEXNET, DIGITS)
}
DEFAULT = SOBEL_RESNET50.name
