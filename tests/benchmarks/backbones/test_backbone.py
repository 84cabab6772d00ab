"""Taps against a real forward, the Sobel stem against other libraries, seeded initialisation."""

import numpy as np
import pytest
import scipy.ndimage
import timm
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.backbones.architectures import (
    CAFFE,
    OWN,
    VARIANTS,
    architectures,
    check_architecture,
)
from benchmarks.backbones.backbone import Backbone, Tap, build_backbone, weight_shapes
from benchmarks.backbones.sobel import SobelStem
from slurm.errors import UserError

ARCHS = (
    "resnet18",
    "resnet50",
    "resnet50d",
    "vgg16_bn",
    "efficientnet_b0",
    "convnext_atto",
    "mobilenetv3_small_100",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "densenet121",
    "alexnet",
)


def maps_of(arch: str, *, sobel: bool, side: int = 224) -> dict[str, Tensor]:
    backbone = build_backbone(arch, sobel=sobel).eval()
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return backbone(images)


@pytest.mark.parametrize(
    ("arch", "sobel"), [(arch, number % 2 == 0) for number, arch in enumerate(ARCHS)]
)
def test_taps_are_what_a_forward_gives(arch: str, sobel: bool) -> None:
    backbone = build_backbone(arch, sobel=sobel).eval()
    side = 224 if arch.startswith("swin") else 96
    taken: list[Tensor] = []

    def copy(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            taken.append(output.clone())

    for module in backbone.trunk.modules():
        module.register_forward_hook(copy)
    with torch.inference_mode():
        maps = backbone(torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)))
    assert list(maps) == [tap.name for tap in backbone.taps]
    assert backbone.taps[-1].name == "feature5"
    for tap in backbone.taps:
        features = maps[tap.name]
        _, channels, height, width = features.shape
        assert channels == tap.channels
        assert height == width
        # Convolutions may lose a border of less than one map pixel (AlexNet: 5 of 6).
        assert -1 <= height - side / tap.stride <= 0
        # In-place activations further on must not have changed a map that was handed out.
        layouts = (features, features.permute(0, 2, 3, 1), features.flatten(2).transpose(1, 2))
        assert any(
            output.shape == layout.shape and torch.equal(output, layout)
            for output in taken
            for layout in layouts
        ) or arch.startswith(("vit", "deit")), tap


def test_names_of_taps_without_a_separate_stem() -> None:
    names = [tap.name for tap in build_backbone("convnext_atto", sobel=False).taps]
    assert names == ["feature2", "feature3", "feature4", "feature5"]


def test_resnet50_taps_are_the_published_ones() -> None:
    expected = [(64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32)]
    assert build_backbone("resnet50", sobel=True).taps == tuple(
        Tap(f"feature{number}", channels, stride)
        for number, (channels, stride) in enumerate(expected, start=1)
    )


def test_transformer_takes_other_image_sizes() -> None:
    assert maps_of("vit_tiny_patch16_224", sobel=False, side=32)["feature5"].shape[2:] == (2, 2)


def test_sobel_stem_against_scipy() -> None:
    images = torch.randn(3, 3, 11, 14, generator=torch.Generator().manual_seed(2))
    gradients = SobelStem()(images).numpy()
    for image, (left_right, top_bottom) in zip(images.double().numpy(), gradients, strict=True):
        grey = image.mean(0)
        for axis, found in ((1, left_right), (0, top_bottom)):
            # scipy.ndimage.sobel is right minus left; zeros around the image, as padding 1.
            expected = -scipy.ndimage.sobel(grey, axis=axis, mode="constant", cval=0.0)
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sobel_stem_on_an_edge_by_hand() -> None:
    images = torch.zeros(1, 3, 5, 5)
    images[..., 3:] = 0.3  # dark on the left, light on the right
    left_right, top_bottom = SobelStem()(images)[0]
    assert torch.allclose(left_right[1:4, 2], torch.tensor(-1.2))
    assert torch.allclose(top_bottom[2], torch.zeros(5))


def test_sobel_filters_are_constants() -> None:
    backbone = build_backbone("resnet18", sobel=True)
    assert not any("stem" in name for name in backbone.state_dict())
    assert not list(backbone.stem.parameters())
    assert backbone.double().stem.kernels.dtype == torch.float64


def test_seed_decides_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first = build_backbone("resnet18", sobel=False, seed=5).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(9)
    second = build_backbone("resnet18", sobel=False, seed=5).state_dict()
    other = build_backbone("resnet18", sobel=False, seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["trunk.conv1.weight"], other["trunk.conv1.weight"])


@pytest.mark.parametrize("arch", ["resnet18", "resnet50d", "regnety_002"])
def test_residual_blocks_start_with_a_last_norm_of_one(arch: str) -> None:
    for name, module in build_backbone(arch, sobel=False).named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert bool((module.weight == 1).all()), name
    timm_trunk = timm.create_model(arch, features_only=True)
    norms = [m for m in timm_trunk.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert any(not norm.weight.any() for norm in norms)  # what is undone here


def test_initial_scale_is_that_of_torchvision() -> None:
    """He initialisation by fan-out: the same standard deviation, layer by layer."""
    ours = build_backbone("resnet18", sobel=False).trunk.state_dict()
    reference = torchvision.models.resnet18().state_dict()
    for name, tensor in ours.items():
        if tensor.dim() == 4:
            assert tensor.std() == pytest.approx(float(reference[name].std()), rel=0.1)


def test_weight_shapes_are_those_of_a_trunk() -> None:
    for arch in ("alexnet", "resnet18"):
        trunk = build_backbone(arch, sobel=True).trunk
        expected = {name: tensor.shape for name, tensor in trunk.state_dict().items()}
        assert weight_shapes(arch, sobel=True) == expected


def test_alexnet_is_deepclusters() -> None:
    shapes = weight_shapes("alexnet", sobel=True)
    assert shapes["features.0.weight"] == (96, 2, 11, 11)
    assert shapes["features.4.weight"] == (256, 96, 5, 5)
    assert shapes["features.8.weight"] == (384, 256, 3, 3)
    assert shapes["features.11.weight"] == (384, 384, 3, 3)
    assert shapes["features.14.weight"] == (256, 384, 3, 3)
    sides = [features.shape[-1] for features in maps_of("alexnet", sobel=True).values()]
    assert sides == [55, 27, 13, 13, 13]


def test_wide_resnets_are_swavs() -> None:
    shapes = weight_shapes("resnet50w2", sobel=False)
    assert shapes["conv1.weight"] == (128, 3, 7, 7)
    assert shapes["layer1.0.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["layer4.2.conv3.weight"] == (4096, 2048, 1, 1)
    with torch.device("meta"):
        backbone = Backbone("resnet50w2", sobel=False)
        maps = backbone(torch.empty(1, 3, 224, 224))
    expected = [(128, 112), (512, 56), (1024, 28), (2048, 14), (4096, 7)]
    assert [features.shape[1:3] for features in maps.values()] == expected
    assert [(tap.channels, 224 // tap.stride) for tap in backbone.taps] == expected


def test_names_are_exactly_those_of_timm() -> None:
    assert architectures() == {*timm.list_models(), *VARIANTS, *CAFFE, *OWN}


def test_unknown_architecture_names_the_close_ones() -> None:
    with pytest.raises(UserError, match=r"unknown architecture 'resnet5O'; did you mean resnet50"):
        build_backbone("resnet5O", sobel=False)
    with pytest.raises(UserError, match="unknown architecture"):
        check_architecture("hf_hub:someone/model")


def test_architecture_without_maps_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("features_only not implemented for this model.")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UserError, match="'mixer_b16_224' cannot be a backbone: timm gives no"):
        build_backbone("mixer_b16_224", sobel=False)
