"""Which of timm's vision transformers a trunk is, by the names and shapes of its tensors.

Only names that timm has are given. Where two networks of timm's share all tensors and differ in
what they compute (CLIP's with GELU or QuickGELU, SigLIP's activations), none is.
"""

import math
from collections.abc import Mapping

from benchmarks.backbones.architectures import architectures

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

# (width, blocks) -> how timm calls that size.
_SIZES = {
    (192, 12): "tiny",
    (256, 14): "wee",
    (320, 14): "little",
    (384, 12): "small",
    (512, 12): "medium",
    (512, 20): "mediumd",
    (640, 12): "betwixt",
    (768, 12): "base",
    (1024, 24): "large",
    (1280, 32): "huge",
    (1408, 40): "giant",
    (1536, 40): "giant",  # DINOv2's
    (1664, 48): "gigantic",
    (4096, 40): "7b",
}
_DINOV2 = 518  # pixels of the images that its position embedding is for
# Without class token and layer scale; others of that kind share their tensors with SigLIP's.
_GAP = ("vit_huge_patch14_gap_224", "vit_huge_patch16_gap_448", "vit_giant_patch16_gap_224")
# Parts of blocks, or of the stem, of which networks of other kinds are made.
_OTHERS = (
    "attn.norm.",
    "attn.q_norm.",
    "attn.q_proj.",
    "attn.lambda_",
    "attn.rel_pos",
    "attn.relative_position",
    "mlp.norm.",
    "mlp.fc1_gate.",
    "attns.",
    "ffns.",
    "in_proj.",
)


def vision_transformer(shapes: Shapes) -> str | None:
    """The architecture, or None; `shapes` holds the patch embedding's."""
    patch = shapes["patch_embed.proj.weight"]
    if len(patch) != 4 or patch[2] != patch[3]:
        return None
    size = _SIZES.get((patch[0], count_children(shapes, "blocks.")))
    parts = {name.split(".", 2)[2] for name in shapes if _is_of_a_block(name)}
    if size is None or "norm_pre.weight" in shapes or "patch_embed.norm.weight" in shapes:
        return None
    if any(part.startswith(_OTHERS) for part in parts):
        return None
    arch = _name(shapes, parts, size, patch[2])
    return arch if arch in architectures() else None


def _name(shapes: Shapes, parts: set[str], size: str, patch: int) -> str | None:
    """What timm would call it, whether there is one of that name or not."""
    start = f"vit_{size}_patch{patch}"
    class_token = "cls_token" in shapes
    registers = _second(shapes.get("reg_token", shapes.get("register_tokens", ())))
    positions = _second(shapes.get("pos_embed", ()))
    scaled = "ls1.gamma" in parts
    if "gamma_1" in parts or "rope.freqs" in shapes:
        own = registers == 4 and class_token and not positions and "attn.qkv.bias" not in parts
        return _dinov3(parts, size, patch) if own and "rope.freqs" not in shapes else None
    if "attn.q_bias" in parts or "mlp.fc1_g.weight" in parts:
        return None
    if "dist_token" in shapes:
        side = _side(positions - 2)
        return f"deit_{size}_distilled_patch{patch}_{side * patch}" if side else None
    with_class, alone = _side(positions - 1) * patch, _side(positions) * patch
    if class_token and scaled and not registers:
        if with_class == _DINOV2:
            return f"{start}_dinov2"
        return f"deit3_{size}_patch{patch}_{alone}" if alone else None
    if class_token and scaled:
        return f"{start}_reg{registers}_dinov2" if alone == _DINOV2 else None
    if class_token:
        plain = "attn.qkv.bias" in parts and not registers
        return f"{start}_{with_class}" if plain and with_class else None
    if registers:
        return f"{start}_reg{registers}_gap_{alone}" if scaled == (size != "base") else None
    if scaled:
        return f"{start}_gap_{alone}" if "attn.qkv.bias" not in parts else None
    return f"{start}_gap_{alone}" if f"{start}_gap_{alone}" in _GAP else None


def _dinov3(parts: set[str], size: str, patch: int) -> str:
    """Its small and huge networks with gated MLPs are called plus; all biases are optional."""
    plus = "_plus" if "mlp.fc1_g.weight" in parts and size != "7b" else ""
    bias = "_qkvb" if "attn.q_bias" in parts else ""
    return f"vit_{size}{plus}_patch{patch}_dinov3{bias}"


def _is_of_a_block(name: str) -> bool:
    return name.startswith("blocks.") and name.count(".") >= 2


def _second(shape: Shape) -> int:
    """The number of tokens: (1, tokens, width)."""
    return shape[1] if len(shape) == 3 else 0


def _side(positions: int) -> int:
    """The side of a square of so many positions; 0 when there is none."""
    side = math.isqrt(max(positions, 0))
    return side if side * side == positions else 0


def count_children(shapes: Shapes, prefix: str) -> int:
    """How many numbered children stand after `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)})
