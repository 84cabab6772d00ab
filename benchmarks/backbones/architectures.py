"""Names of the architectures that a backbone can have, without importing torch or timm."""

import importlib.util
import re
from functools import cache
from pathlib import Path

from slurm.cli import choose
from slurm.errors import UserError

# Trunks that timm lacks: DeepCluster's AlexNet with batch norm, the wide ResNets of SwAV and VISSL.
OWN = ("alexnet", "resnet50w2", "resnet50w4", "resnet50w5")

# timm's networks with other arguments. MoCo v3's ViT-S (its vits.py) has 12 attention heads where
# timm's, DeiT's and DINO's has 6; the tensors are of the same names and shapes.
VARIANTS: dict[str, tuple[str, dict[str, int]]] = {
    "vit_small_patch16_224_12heads": ("vit_small_patch16_224", {"num_heads": 12}),
}

# ResNets that stride in the 1x1 convolution of a stage's first block, as Caffe's did, where
# torchvision's and timm's stride in the 3x3; the tensors are of the same names and shapes.
CAFFE = {
    f"{name}_caffe": name
    for name in ("resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d")
}

# timm registers an architecture by decorating a function of that name.
_REGISTERED = re.compile(r"^@register_model\s*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@cache
def architectures() -> frozenset[str]:
    """Every name that `build_backbone` knows: timm's architectures, `VARIANTS`, `CAFFE` and `OWN`.

    Read from timm's source files, so that a misspelt name fails at once instead of after the
    seconds that importing torch takes.
    """
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.submodule_search_locations is None:
        raise RuntimeError("timm is not installed")
    names = {*OWN, *VARIANTS, *CAFFE}
    for file in (Path(spec.submodule_search_locations[0]) / "models").glob("*.py"):
        names.update(_REGISTERED.findall(file.read_text(encoding="utf-8")))
    return frozenset(names)


def check_architecture(arch: str) -> str:
    """Return `arch` if it is known; else raise `UserError` with the close matches."""
    if not arch:
        raise UserError("no architecture is named: give one of timm's, such as random:resnet50")
    return choose(arch, sorted(architectures()), "architecture")
