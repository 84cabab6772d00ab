"""Vision transformers of others, by timm's names: MMPretrain, torchvision, DeiT III, DINOv2 and v3.

Where a tensor stands for more than one of timm's, or less, it is taken apart as timm's own
conversion does. What stands before the names does not matter, and stays.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Rules = tuple[tuple[str, str], ...]

_MM = (  # MMPretrain, MMClassification, MMSelfSup 1.x: mmpretrain/models/backbones
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"layers\.(\d+)\.ln([12])\.", r"blocks.\1.norm\2."),
    (r"layers\.(\d+)\.attn\.gamma1\.(weight|scale)$", r"blocks.\1.ls1.gamma"),
    (r"layers\.(\d+)\.ffn\.gamma2\.(weight|scale)$", r"blocks.\1.ls2.gamma"),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    (r"layers\.(\d+)\.ffn\.w12\.", r"blocks.\1.mlp.fc1."),
    (r"layers\.(\d+)\.ffn\.w3\.", r"blocks.\1.mlp.fc2."),
    (r"layers\.(\d+)\.attn\.", r"blocks.\1.attn."),
    (r"pre_norm\.", "norm_pre."),
    (r"ln1\.", "norm."),
    (r"ln2\.", "fc_norm."),
)
_LAYER = r"encoder\.layers\.encoder_layer_(\d+)\."
_TORCHVISION = (  # torchvision/models/vision_transformer.py; linear_N in its files before 0.13
    (r"conv_proj\.", "patch_embed.proj."),
    (r"class_token$", "cls_token"),
    (r"encoder\.pos_embedding$", "pos_embed"),
    (_LAYER + r"ln_([12])\.", r"blocks.\1.norm\2."),
    (_LAYER + r"self_attention\.in_proj_", r"blocks.\1.attn.qkv."),
    (_LAYER + r"self_attention\.out_proj\.", r"blocks.\1.attn.proj."),
    (_LAYER + r"mlp\.(?:0|linear_1)\.", r"blocks.\1.mlp.fc1."),
    (_LAYER + r"mlp\.(?:3|linear_2)\.", r"blocks.\1.mlp.fc2."),
    (r"encoder\.ln\.", "norm."),
)
_DINOV2 = (  # facebookresearch/dinov2; blocks may stand in chunks, numbered through
    (r"blocks\.(?:\d+\.)?(\d+)\.mlp\.w12\.", r"blocks.\1.mlp.fc1."),
    (r"blocks\.(?:\d+\.)?(\d+)\.mlp\.w3\.", r"blocks.\1.mlp.fc2."),
    (r"blocks\.\d+\.(\d+)\.", r"blocks.\1."),
)
_DINOV3 = (  # facebookresearch/dinov3
    (r"storage_tokens$", "reg_token"),
    (r"(blocks\.\d+\.)ls([12])\.gamma$", r"\1gamma_\2"),
    (r"(blocks\.\d+\.)mlp\.w1\.", r"\1mlp.fc1_g."),
    (r"(blocks\.\d+\.)mlp\.w2\.", r"\1mlp.fc1_x."),
    (r"(blocks\.\d+\.)mlp\.w3\.", r"\1mlp.fc2."),
)
_DEIT3 = ((r"(blocks\.\d+\.)gamma_([12])$", r"\1ls\2.gamma"),)  # facebookresearch/deit
# A name that only one project's files have, and the renaming of those.
_MARKS: tuple[tuple[str, Rules], ...] = (
    (r"layers\.\d+\.ln1\.weight", _MM),
    (_LAYER + r"ln_1\.weight", _TORCHVISION),
    (r"blocks\.\d+\.gamma_1", _DEIT3),
    (r"storage_tokens", _DINOV3),
    (r"register_tokens|blocks\.\d+\.mlp\.w12\.weight|blocks\.\d+\.\d+\.norm1\.weight", _DINOV2),
)


def with_timm_names(content: Any) -> Any:
    """`content` of a file with the names of `timm_names` in each dictionary, however deep."""
    if not isinstance(content, dict):
        return content
    named = {key: with_timm_names(value) for key, value in content.items()}
    tensors = {
        name: value
        for name, value in named.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    renamed = timm_names(tensors)
    if renamed.keys() == tensors.keys():
        return named
    return {name: value for name, value in named.items() if name not in tensors} | renamed


def timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, those of foreign vision transformers by timm's names.

    A dictionary with two tensors that would get one name is returned as it is.
    """
    found = dict(tensors)
    for mark, rules in _MARKS:
        pattern = re.compile(rf"(?P<prefix>(?:.*\.)?)(?:{mark})")
        matches = [match for match in map(pattern.fullmatch, found) if match]
        for prefix in sorted({match["prefix"] for match in matches}):
            found = _renamed(found, prefix, rules)
    return found


def _renamed(tensors: dict[str, Tensor], prefix: str, rules: Rules) -> dict[str, Tensor]:
    inside = {
        name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }
    if rules is _DEIT3 and "blocks.0.attn.qkv.bias" not in inside:
        return tensors  # BEiT's and EVA's blocks, which timm calls so too
    if rules is _DINOV2:
        inside = _apart_from_positions(inside)
    if rules is _DINOV3:
        inside = _without_constants(inside)
    renamed: dict[str, Tensor] = {}
    for name, tensor in inside.items():
        new = prefix + _by_rules(name, rules)
        if new in renamed:
            return tensors
        renamed[new] = tensor
    outside = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return outside | renamed


def _by_rules(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        new, count = re.subn(rf"^{pattern}", replacement, name)
        if count:
            return new
    return name


def _apart_from_positions(inside: dict[str, Tensor]) -> dict[str, Tensor]:
    """With registers, timm adds the class token's position to it, and keeps those of patches."""
    registers, token = inside.get("register_tokens"), inside.get("cls_token")
    positions = inside.get("pos_embed")
    if registers is None or token is None or positions is None:
        return inside
    if token.dim() != 3 or positions.dim() != 3 or token.shape[-1] != positions.shape[-1]:
        return inside
    kept = {name: tensor for name, tensor in inside.items() if name != "register_tokens"}
    kept["cls_token"] = token + positions[:, :1]
    return kept | {"pos_embed": positions[:, 1:], "reg_token": registers}


def _without_constants(inside: dict[str, Tensor]) -> dict[str, Tensor]:
    """The periods of rotary embeddings follow from the architecture; keys have no bias.

    timm has networks with biases of queries and values, and others without any: the latter where
    all are zero, as in the published files of most sizes.
    """
    kept = {
        name: tensor
        for name, tensor in inside.items()
        if not name.startswith("rope_embed.") and not name.endswith("qkv.bias_mask")
    }
    biases = {
        name: tensor
        for name, tensor in kept.items()
        if re.fullmatch(r"blocks\.\d+\.attn\.qkv\.bias", name) and tensor.dim() == 1
    }
    thirds = {name: _unmasked(inside, name).chunk(3) for name in biases}
    if any(len(parts) != 3 or bool(parts[1].any()) for parts in thirds.values()):
        return kept  # keys with biases: no network of timm's
    zero = not any(bool(parts[0].any()) or bool(parts[2].any()) for parts in thirds.values())
    for name, (queries, _, values) in thirds.items():
        del kept[name]
        if not zero:
            start = name.removesuffix("qkv.bias")
            kept |= {f"{start}q_bias": queries.clone(), f"{start}v_bias": values.clone()}
    return kept


def _unmasked(inside: dict[str, Tensor], name: str) -> Tensor:
    """A bias as the network uses it: times a mask that is zero for the keys."""
    bias, mask = inside[name], inside.get(f"{name}_mask")
    if mask is None or mask.shape != bias.shape:
        return bias
    return torch.where(mask == 0, torch.zeros_like(bias), bias)
