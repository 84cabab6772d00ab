"""Vision transformers are told from the shapes of timm's own networks, or not at all."""

import itertools

import pytest
import timm
import torch

from benchmarks.checkpoints.finding.guessing import guess_architecture
from benchmarks.checkpoints.vit.shapes import vision_transformer

Shapes = dict[str, tuple[int, ...]]


def shapes(arch: str) -> Shapes:
    with torch.device("meta"):
        model = timm.create_model(arch, pretrained=False)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


TOLD = (
    "vit_tiny_patch16_224",
    "vit_tiny_patch16_384",
    "vit_small_patch8_224",
    "vit_small_patch16_384",
    "vit_small_patch32_224",
    "vit_base_patch8_224",
    "vit_base_patch16_384",
    "vit_base_patch32_384",
    "vit_large_patch14_224",
    "vit_large_patch16_224",
    "vit_large_patch32_384",
    "vit_huge_patch14_224",
    "vit_huge_patch14_gap_224",
    "vit_small_patch14_dinov2",
    "vit_base_patch14_reg4_dinov2",
    "vit_giant_patch14_dinov2",
    "vit_tiny_patch16_dinov3_qkvb",
    "vit_small_patch16_dinov3",
    "vit_small_plus_patch16_dinov3",
    "vit_base_patch16_dinov3_qkvb",
    "vit_medium_patch16_reg4_gap_256",
    "vit_medium_patch16_gap_240",
    "deit_small_distilled_patch16_224",
    "deit3_small_patch16_224",
    "deit3_huge_patch14_224",
)


@pytest.mark.parametrize("arch", TOLD)
def test_networks_of_timm_are_told(arch: str) -> None:
    found = shapes(arch)
    assert guess_architecture(found) == arch
    beside = {"mask_token": (1, 384), "decoder_embed.weight": (512, 384), "head.weight": (9, 384)}
    assert guess_architecture(found | beside) == arch


@pytest.mark.parametrize(
    ("arch", "same"),
    [
        ("deit_tiny_patch16_224", "vit_tiny_patch16_224"),
        ("deit_base_patch16_384", "vit_base_patch16_384"),
    ],
)
def test_one_of_two_names_of_the_same_network(arch: str, same: str) -> None:
    assert guess_architecture(shapes(arch)) == same


# Networks that share all tensors with others which compute something else, or are of other parts.
NOT_TOLD = (
    "vit_base_patch16_clip_224",
    "vit_base_patch16_clip_quickgelu_224",
    "vit_base_patch16_siglip_224",
    "vit_base_patch16_gap_224",
    "vit_base_patch32_siglip_256",
    "vit_base_patch16_224_miil",
    "vit_base_patch16_xp_224",
    "vit_small_patch16_18x2_224",
    "vit_small_patch16_36x1_224",
    "vit_small_patch16_rope_224",
    "vit_small_patch16_rope_mixed_224",
    "vit_dwee_patch16_reg1_gap_256",
    "vit_base_patch16_sapiens2",
    "vit_pe_core_tiny_patch16_384",
    "eva02_tiny_patch14_224",
    "beit3_base_patch16_224",
    "aimv2_large_patch14_224",
    "flexivit_small",
)


@pytest.mark.parametrize("arch", NOT_TOLD)
def test_what_shapes_do_not_tell_is_not_guessed(arch: str) -> None:
    assert guess_architecture(shapes(arch)) is None


SIZES = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24)}


def described(
    width: int, depth: int, patch: int, positions: int, *, token: bool, scaled: bool, registers: int
) -> Shapes:
    """Names and shapes of a vision transformer, heads left out."""
    found: Shapes = {
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "pos_embed": (1, positions, width),
    }
    found |= {"cls_token": (1, 1, width)} if token else {}
    found |= {"reg_token": (1, registers, width)} if registers else {}
    layers = {"attn.qkv": 3, "attn.proj": 1, "mlp.fc1": 4}
    for number in range(depth):
        block = f"blocks.{number}."
        for name in ("norm1", "norm2"):
            found |= {f"{block}{name}.{kind}": (width,) for kind in ("weight", "bias")}
        for name, times in layers.items():
            found[f"{block}{name}.weight"] = (times * width, width)
            found[f"{block}{name}.bias"] = (times * width,)
        found[f"{block}mlp.fc2.weight"] = (width, 4 * width)
        found[f"{block}mlp.fc2.bias"] = (width,)
        found |= {f"{block}ls{n}.gamma": (width,) for n in (1, 2) if scaled}
    return found


def test_no_name_is_invented() -> None:
    """Whatever comes out is a network of timm's with exactly these tensors, or None."""
    told: dict[str, Shapes] = {}
    for (width, depth), patch, side in itertools.product(
        SIZES.values(), (7, 8, 14, 16, 32), (7, 12, 14, 16, 37)
    ):
        for token, scaled, registers, more in itertools.product(
            (True, False), (True, False), (0, 1, 4), (0, 1)
        ):
            found = described(
                width,
                depth,
                patch,
                side * side + more,
                token=token,
                scaled=scaled,
                registers=registers,
            )
            arch = guess_architecture(found)
            if arch is not None:
                assert arch not in told, (arch, "for two networks")
                told[arch] = found
    assert len(told) >= 20
    for arch, found in told.items():
        theirs = {
            name: shape
            for name, shape in shapes(arch).items()
            if not name.startswith(("norm.", "fc_norm.", "head."))
        }
        assert found == theirs, arch


@pytest.mark.parametrize(
    "change",
    [
        {"patch_embed.proj.weight": (384,)},
        {"patch_embed.proj.weight": (384, 3, 16, 8)},
        {"patch_embed.proj.weight": ()},
        {"pos_embed": ()},
        {"pos_embed": (197, 384)},
        {"pos_embed": (1, 0, 384)},
        {"pos_embed": (1, 200, 384)},
    ],
)
def test_odd_shapes_are_not_guessed(change: Shapes) -> None:
    assert guess_architecture(shapes("vit_small_patch16_224") | change) is None


def test_a_trunk_that_lacks_a_tensor_is_still_told() -> None:
    """So that the missing one can be named."""
    whole = shapes("vit_tiny_patch16_224")
    for name in ("blocks.0.norm1.weight", "blocks.0.attn.qkv.bias", "blocks.5.mlp.fc1.weight"):
        lacking = {key: shape for key, shape in whole.items() if key != name}
        assert vision_transformer(lacking) == "vit_tiny_patch16_224"
