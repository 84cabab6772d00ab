"""What was assumed of a trunk that its file does not say, as notes with its figures."""

import re

from benchmarks.backbones.architectures import VARIANTS
from benchmarks.checkpoints.cards import ASSUMED_PIXELS, IMAGENET_MEAN, IMAGENET_STD
from benchmarks.checkpoints.file_format import Format
from benchmarks.checkpoints.finding.timm_files import Pixels
from benchmarks.checkpoints.openmmlab.network import NetworkConfig

ASSUMED_NETWORK = (
    "the file does not say how its network is built beyond the tensors: strides and all else as in "
    "torchvision and timm were assumed"
)
MOCO_HEADS = (
    "12 attention heads were assumed, as MoCo v3's vit_small has them; with --arch "
    "vit_small_patch16_224 it has 6"
)
DINOV2_POSITIONS = (
    "for images of other than 518 pixels its position embeddings are resampled as timm does, with "
    "antialiasing; DINOv2's own code does it without, so that its features differ a little"
)
_DINOV2 = re.compile(r"vit_\w+_patch14_dinov2")  # those with registers resample as timm does


def assumed(
    config: NetworkConfig, said: Pixels | None, writer: Format, *, guessed: bool
) -> list[str]:
    """Notes on a trunk of which another network, or other pixels, may have been meant.

    `said` is what the file says of its pixels, `guessed` whether nobody named the architecture.
    """
    notes = [] if writer.network_known or config.read else [ASSUMED_NETWORK]
    if config.mean is None and said is None and not writer.network_known:
        notes.append(ASSUMED_PIXELS)
    if config.mean is None and said and (said.mean, said.std) != (IMAGENET_MEAN, IMAGENET_STD):
        notes.append(said.note)
    if config.arch in VARIANTS and guessed:
        notes.append(MOCO_HEADS)
    if _DINOV2.fullmatch(config.arch):
        notes.append(DINOV2_POSITIONS)
    return notes
