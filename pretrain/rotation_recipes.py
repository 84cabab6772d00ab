"""The numbers of each run of rotation prediction, once; `--recipe` takes these names."""

from dataclasses import dataclass

from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.protocols import ImageTransform


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the images and the seed."""

    name: str
    arch: str
    train: ImageTransform
    epochs: int
    batch_size: int  # images per step, over all processes; each is seen in all four turns
    learning_rate: float
    milestones: tuple[int, ...] = ()  # epochs after which the learning rate is multiplied by gamma
    gamma: float = 0.1
    warmup_epochs: int = 0  # in which the learning rate rises, step by step
    warmup_ratio: float = 0.1  # what it rises from, of the learning rate
    momentum: float = 0.9
    weight_decay: float = 1e-4
    sobel: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    config: str = "pretrain/rotation_recipes.py"  # what the model-zoo table links to


# OpenSelfSup configs/selfsup/rotation_pred/r50.py; MMSelfSup 0.x
# rotation-pred_resnet50_8xb16-steplr-70e_in1k.py, but that their BatchNorm is over all GPUs.
RESNET50 = Recipe(
    name="rotation_resnet50_8xb16-steplr-70e",
    arch="resnet50",
    train=ImageTransform(crop=224, random_resized_crop=True, flip=True),
    epochs=70,
    batch_size=128,
    learning_rate=0.2,
    milestones=(30, 50),
    warmup_epochs=5,
)

# The embedded digits, of which 0, 1 and 8 say little of how they were turned.
DIGITS = Recipe(
    name="digits_rotation_resnet18-8e",
    arch="resnet18",
    train=ImageTransform(crop=32, resize=40, random_crop=40),
    epochs=8,
    batch_size=32,
    learning_rate=0.02,
    milestones=(6,),
)

RECIPES = {recipe.name: recipe for recipe in (RESNET50, DIGITS)}
HELP = {
    "arch": "trunk: any timm architecture, or alexnet",
    "train": "images",
    "batch_size": "images a step, over all processes, each in four turns",
    "learning_rate": "of all weights, after the warm-up",
    "milestones": "epochs after which the learning rate is times gamma; none for none",
    "gamma": "what the learning rate is multiplied by at a milestone",
    "warmup_epochs": "in which the learning rate rises from warmup-ratio times it",
    "warmup_ratio": "what it rises from, of the learning rate",
    "momentum": "of SGD",
    "weight_decay": "of SGD, for all weights",
    "mean": "of the pixels, 0 to 1, which is taken off",
    "std": "of the pixels, which they are then divided by",
    "sobel": "fixed Sobel filters before a trunk of two channels",
}
