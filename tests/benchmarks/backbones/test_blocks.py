"""What each block of a trunk gives, against the same blocks called one after the other."""

import pytest
import torch

from benchmarks.backbones.backbone import Backbone, build_backbone
from benchmarks.backbones.blocks import BlockTaps, block_names
from slurm.errors import UserError

IMAGES = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("arch", ["test_resnet", "resnet18"])
def test_residual_blocks_are_those_of_the_stages(arch: str) -> None:
    backbone = build_backbone(arch, sobel=False).eval()
    before = backbone(IMAGES)
    trunk, expected = backbone.trunk, []
    values = trunk.maxpool(trunk.act1(trunk.bn1(trunk.conv1(IMAGES))))
    for stage in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        for block in stage:
            values = block(values)
            expected.append(values.clone())
        assert any(torch.equal(values, one) for one in before.values())
    taps = BlockTaps(backbone)
    maps = backbone(IMAGES)
    found = taps.take(maps["feature5"])
    assert list(found) == [f"block{number}" for number in range(1, len(expected) + 1)]
    assert list(found) == list(block_names(arch))
    for one, other in zip(found.values(), expected):
        assert torch.equal(one, other)
    for name, one in before.items():  # looking on changes nothing
        assert torch.equal(maps[name], one)


def test_a_wide_resnet_has_a_head_for_each_of_its_sixteen_blocks() -> None:
    with torch.device("meta"):
        backbone = Backbone("resnet50w2", sobel=False)
        taps = BlockTaps(backbone)
        maps = backbone(torch.empty(2, 3, 64, 64))
    found = taps.take(maps["feature5"])
    widths = [512] * 3 + [1024] * 4 + [2048] * 6 + [4096] * 3
    assert [one.shape[1] for one in found.values()] == widths
    assert found["block16"] is maps["feature5"]


@torch.no_grad()
@pytest.mark.parametrize("arch", ["test_vit", "vit_small_patch14_reg4_dinov2"])
def test_blocks_of_a_vit_are_maps_of_its_patches(arch: str) -> None:
    """One with a class token, one with registers too; images that are not square."""
    images = IMAGES if arch == "test_vit" else IMAGES[..., :56, :42]
    backbone = build_backbone(arch, sobel=False).eval()
    model = backbone.trunk.model
    tokens, expected = model.norm_pre(model._pos_embed(model.patch_embed(images))), []
    for block in model.blocks:
        tokens = block(tokens)
        expected.append(tokens[:, model.num_prefix_tokens :].transpose(1, 2))
    taps = BlockTaps(backbone)
    maps = backbone(images)
    found = taps.take(maps["feature5"])
    height, width = maps["feature5"].shape[-2:]
    assert height != width
    for one, patches in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(one, patches.reshape(2, -1, height, width))
    assert list(found) == list(block_names(arch))
    assert torch.equal(found[f"block{len(found)}"], maps["feature5"])


@pytest.mark.parametrize("arch", ["alexnet", "vgg11_bn", "convnext_atto", "efficientnet_b0"])
def test_an_architecture_without_such_blocks_is_one_line(arch: str) -> None:
    with pytest.raises(UserError, match=f"{arch}' has no blocks") as caught:
        block_names(arch)
    assert "\n" not in str(caught.value)
