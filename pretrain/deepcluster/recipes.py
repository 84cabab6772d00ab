"""The numbers of each DeepCluster run, once; `--recipe` takes these names.

`python -m pretrain deepcluster --recipe NAME --data DIR --name NAME`

The published recipes are OpenSelfSup's (= MMSelfSup's table row), the same without Sobel, and the
paper's two networks; they need 200 to 500 epochs of ImageNet on GPUs. The digits recipe learns in
minutes on two CPU cores.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.protocols import ImageTransform
from pretrain.recipe_checks import check_numbers
from slurm.errors import UserError

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
    # What is clustered: the average-pooled last stage, or fc7 before its ReLU (see FC7).
    neck: Literal["avgpool", "fc7"] = "avgpool"
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    config: str = "pretrain/deepcluster/recipes.py"  # what the model-zoo table links to
    algorithm: Literal["kmeans", "pic"] = "kmeans"  # pic: power iteration clustering
    balance: bool = False  # clusters of the same size, to one image
    reweight: bool = False  # a loss weighted by 1/sqrt(size of the cluster), with mean weight 1
    features: Literal["fp32", "fp16"] = "fp32"  # as they are kept on disk until they are clustered
    decode: Literal["pil", "fast"] = "pil"  # fast: simplejpeg, and a resize of 8 bits


# Fields that came after runs had been registered, and what they are in recipes without them.
_LATER = ("algorithm", "balance", "reweight", "features", "decode")
ADDED = {field.name: field.default for field in fields(Recipe) if field.name in _LATER}

# Trunks with the fully connected layers of their networks: the side of the map that enters fc6.
FC7 = {"alexnet": 6, "vgg16_bn": 7}

HELP = {
    "arch": "trunk: any timm architecture, or alexnet",
    "train": "images trained on",
    "extract": "images clustered",
    "clusters": "of k-means; with --algorithm pic the most there may be",
    "pca": "dimensions that features are whitened to",
    "kmeans_iterations": "rounds of each k-means",
    "interval": "epochs from one clustering to the next",
    "batch_size": "images a step, over all processes",
    "learning_rate": "of trunk and classifier, at the first epoch",
    "milestones": "epochs after which the learning rate is times gamma; none for none",
    "gamma": "what the learning rate is multiplied by at a milestone",
    "momentum": "of SGD, for all but the classifier, which has none",
    "weight_decay": "of SGD, for all weights",
    "neck": "what is clustered: avgpool, or fc7 of alexnet and vgg16_bn",
    "sobel": "fixed Sobel filters before a trunk of two channels",
    "mean": "of the pixels, 0 to 1, which is taken off",
    "std": "of the pixels, which they are then divided by",
    "algorithm": "kmeans, or pic (power iteration clustering)",
    "balance": "after k-means, images go to the nearest centroids so that clusters are of one size",
    "reweight": "weight the loss by 1/sqrt(size of the cluster), mean weight 1",
    "features": "kept on disk until they are clustered as fp32, or as fp16 in half the space",
    "decode": "pil, or fast: simplejpeg and a resize of 8 bits, up to 2 grey levels away",
}


def check_recipe(recipe: Recipe) -> None:
    """`UserError` for numbers that cannot be, and for those that do not go together."""
    check_numbers(recipe)
    if recipe.neck == "fc7" and recipe.arch not in FC7:
        raise UserError(
            f"neck fc7 belongs to {' and '.join(FC7)}, not to {recipe.arch}: add --neck avgpool"
        )
    if recipe.neck == "fc7" and (recipe.train.crop, recipe.extract.crop) != (224, 224):
        raise UserError("neck fc7 is of images of 224 pixels: add --neck avgpool for other crops")
    if recipe.balance and recipe.algorithm != "kmeans":
        raise UserError("--balance needs centroids, which only --algorithm kmeans has")
    if recipe.clusters < 2:
        raise UserError(f"{recipe.clusters} cluster tells no images apart: use two or more")


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """The rate of all steps of `epoch`, counted from 0."""
    drops = sum(epoch >= milestone for milestone in recipe.milestones)
    return recipe.learning_rate * recipe.gamma**drops


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

# OpenSelfSup configs/selfsup/deepcluster/r50_withoutsobel.py (its pull request 46; AvgPool 50.40).
RESNET50 = replace(
    SOBEL_RESNET50, name="resnet50_8xb64-steplr-200e", learning_rate=0.3, sobel=False
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

# The second network of that repository: main.sh with ARCH=vgg16, whose batch norm is on by default,
# and main.py's 200 epochs; the paper does not say how long VGG-16 was trained.
SOBEL_VGG16 = replace(SOBEL_ALEXNET, name="vgg16_bn_sobel_b256-200e", arch="vgg16_bn", epochs=200)

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
    recipe.name: recipe for recipe in (SOBEL_RESNET50, RESNET50, SOBEL_ALEXNET, SOBEL_VGG16, DIGITS)
}
DEFAULT = SOBEL_RESNET50.name
