"""What the training scripts of timm, and of projects built on it, say beside the weights."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import timm

Triple = tuple[float, float, float]
_HALF = (0.5, 0.5, 0.5)  # mean and std alike, which timm calls Inception's
_OF_TIMM = ("version", "state_dict_ema")  # what timm's CheckpointSaver writes, and nobody else


class Pixels(NamedTuple):
    """How a file says that its pixels are normalised."""

    mean: Triple
    std: Triple
    note: str


def named_architecture(content: Mapping[Any, Any]) -> str | None:
    """The architecture that a file names, without the tag and the hub that timm allows.

    `hf-hub:timm/resnetblur50.bt_in1k` is resnetblur50.
    """
    said = content.get("arch")
    return said.rpartition("/")[2].partition(".")[0] if isinstance(said, str) else None


def said_pixels(content: Mapping[Any, Any], arch: str) -> Pixels | None:
    """Mean and std by the arguments of the script that trained `arch`; None where none are known.

    timm's train.py takes `--mean` and `--std`, else what its configuration of the network says,
    which is 0.5 for most vision transformers (timm/data/config.py, resolve_data_config).
    """
    found = content.get("args")
    args = found if isinstance(found, Mapping) else {}
    if args.get("imagenet_default_mean_and_std") is False:  # ConvNeXt's and BEiT's scripts
        return Pixels(_HALF, _HALF, "mean and std of its pixels are 0.5, as the file's args say")
    if named_architecture(content) != arch or not any(key in content for key in _OF_TIMM):
        return None
    config = _configuration(str(content["arch"]).rpartition("/")[2]) or _configuration(arch)
    mean = _triple(args.get("mean")) or _triple(config.get("mean"))
    std = _triple(args.get("std")) or _triple(config.get("std"))
    if mean is None or std is None:
        return None
    given = args.get("mean") is not None or args.get("std") is not None
    by = "the file's args" if given else "timm's configuration of its network"
    return Pixels(mean, std, f"mean {_shown(mean)} and std {_shown(std)} of its pixels by {by}")


def _configuration(name: str) -> dict[str, Any]:
    """timm's, of the weights that a tag names, else of its default ones; empty for neither."""
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        return {}
    return found.to_dict() if found is not None else {}


def _triple(value: object) -> Triple | None:
    """Numbers of red, green and blue; one stands for all three."""
    numbers = list(value) if isinstance(value, list | tuple) else []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(isinstance(one, int | float) for one in numbers):
        return None
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _shown(values: Triple) -> str:
    return ", ".join(f"{value:g}" for value in values)
