"""Which architecture a trunk has, by the names and shapes of its tensors."""

from benchmarks.checkpoints.vit.shapes import Shape, Shapes, count_children, vision_transformer

# Blocks per stage of a ResNet -> suffix of its name, for basic blocks and for bottlenecks.
_BASIC: dict[Shape, str] = {(2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}
_BOTTLENECK: dict[Shape, str] = {(3, 4, 6, 3): "50", (3, 4, 23, 3): "101", (3, 8, 36, 3): "152"}
# (stem channels, shape of layer1.0.conv2.weight) -> how that ResNet is called.
_WIDTHS: dict[tuple[int, Shape], str] = {
    (64, (64, 64, 3, 3)): "resnet{}",
    (64, (128, 128, 3, 3)): "wide_resnet{}_2",
    (64, (128, 4, 3, 3)): "resnext{}_32x4d",
    (64, (256, 8, 3, 3)): "resnext{}_32x8d",
    (128, (256, 256, 3, 3)): "resnet{}w2",
    (256, (1024, 1024, 3, 3)): "resnet{}w4",
    (320, (1600, 1600, 3, 3)): "resnet{}w5",
}


def guess_architecture(shapes: Shapes, *, moco: bool = False) -> str | None:
    """The architecture, or None when these shapes are not those of a common one.

    `moco` says that MoCo's code wrote them, since its ViT-S has the shapes of all others.
    """
    if "patch_embed.proj.weight" in shapes:
        arch = vision_transformer(shapes)
        return f"{arch}_12heads" if moco and arch == "vit_small_patch16_224" else arch
    if "conv1.weight" in shapes:
        return _resnet(shapes)
    if "features.0.weight" in shapes:
        return _plain_network(shapes)
    return None


def _resnet(shapes: Shapes) -> str | None:
    stem = shapes["conv1.weight"]
    blocks = tuple(count_children(shapes, f"layer{stage}.") for stage in (1, 2, 3, 4))
    if len(stem) != 4 or stem[2:] != (7, 7):
        return None
    if "layer1.0.conv3.weight" not in shapes:
        return _BASIC.get(blocks)
    pattern = _WIDTHS.get((stem[0], shapes.get("layer1.0.conv2.weight", ())))
    depth = _BOTTLENECK.get(blocks)
    return pattern.format(depth) if pattern and depth else None


def _plain_network(shapes: Shapes) -> str | None:
    first = shapes["features.0.weight"]
    if len(first) != 4:
        return None
    if first[0] == 96 and first[2:] == (11, 11) and "features.1.running_mean" in shapes:
        return "alexnet"
    if first[0] == 64 and first[2:] == (3, 3) and "features.1.running_mean" in shapes:
        last = shapes.get("features.40.weight")  # the thirteenth convolution
        return "vgg16_bn" if last and "features.43.weight" not in shapes else None
    return None
