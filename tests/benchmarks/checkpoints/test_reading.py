"""Every format, written as its project writes it, read, and compared with torchvision's forward."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from benchmarks.backbones.backbone import build_backbone
from benchmarks.checkpoints.assumptions import MOCO_HEADS
from benchmarks.checkpoints.formats import FORMATS
from benchmarks.checkpoints.reading import Imported, read_checkpoint, read_content
from benchmarks.registry import load_backbone, main
from slurm.errors import UserError
from tests.benchmarks.checkpoints.foreign import (
    FILES,
    IMAGES,
    SOBEL_CONSTANTS,
    assert_same_maps,
    dino,
    gradients,
    linear,
    mmselfsup_0_sobel,
    mmselfsup_released,
    noise,
    openselfsup_moco,
    randomised,
    resnet,
    resnet_maps,
    trunk_state,
    under,
)


def assert_same_features(found: Imported, expected: list[Tensor], images: Tensor = IMAGES) -> None:
    backbone = build_backbone(found.arch, sobel=found.sobel).eval()
    backbone.trunk.load_state_dict(found.tensors)
    assert_same_maps(backbone, expected, images)


@pytest.fixture(scope="module")
def models() -> dict[int, nn.Module]:
    return {channels: resnet(channels=channels) for channels in (2, 3)}


@pytest.fixture(scope="module")
def maps(models: dict[int, nn.Module]) -> dict[int, list[Tensor]]:
    return {
        2: resnet_maps(models[2], gradients(IMAGES)),
        3: resnet_maps(models[3], IMAGES),
    }


@pytest.mark.parametrize("file", FILES)
def test_layout(
    file: str, tmp_path: Path, models: dict[int, nn.Module], maps: dict[int, list[Tensor]]
) -> None:
    layout, write, channels = FILES[file]
    path = tmp_path / file
    content = write(trunk_state(models[channels]))
    torch.save(content, path)
    found = read_content(path, content)
    assert (found.arch, found.sobel, found.format) == ("resnet18", channels == 2, layout)
    assert found.matched == len(found.tensors) == 120
    assert not found.assumed
    assert found.std[0] == (0.228 if layout in ("swav", "deepcluster-v2") else 0.229)
    assert ("0.228" in str(found.notes)) == (layout in ("swav", "deepcluster-v2"))
    assert read_content(path, content, format=layout).arch == "resnet18"
    main(["add", str(path), "--name", "a", "--zoo", str(tmp_path / "zoo")])
    backbone, card = load_backbone(tmp_path / "zoo", "a")
    assert (card.format, card.std, card.notes) == (layout, found.std, found.notes)
    assert_same_maps(backbone, maps[channels])


def test_what_is_left_out_is_said(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    path = tmp_path / "epoch_200.pth"
    torch.save(mmselfsup_0_sobel(trunk_state(models[2])), path)
    assert read_checkpoint(path).dropped == {"head": 2, "sobel_layer": 4}


def test_every_layout_has_a_file_here() -> None:
    seen = {layout for layout, _, _ in FILES.values()}
    assert seen | {"deepcluster", "dino-student"} == {format.name for format in FORMATS}


def test_dino_student_on_request(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    path = tmp_path / "full.pth"
    torch.save(dino(trunk_state(models[3])), path)
    student = read_checkpoint(path, format="dino-student").tensors["conv1.weight"]
    assert torch.equal(student, models[3].conv1.weight * 2)


def test_released_resnet50_with_two_channels_and_no_sobel_keys(tmp_path: Path) -> None:
    model = resnet("resnet50", channels=2)
    path = tmp_path / "deepcluster-sobel_r50-bb8681e2.pth"
    torch.save(mmselfsup_released(trunk_state(model)), path)
    found = read_checkpoint(path)
    assert (found.arch, found.sobel, found.matched) == ("resnet50", True, 318)
    assert_same_features(found, resnet_maps(model, gradients(IMAGES)))


def test_safetensors_of_timm(tmp_path: Path) -> None:
    model = randomised(timm.create_model("resnet26d"), 0)
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    with pytest.raises(UserError, match="cannot tell the architecture; give --arch"):
        read_checkpoint(path)
    found = read_checkpoint(path, arch="resnet26d")
    assert found.dropped == {"fc": 2}
    with torch.inference_mode():
        last = model.forward_features(IMAGES)
    backbone = build_backbone("resnet26d", sobel=False).eval()
    backbone.trunk.load_state_dict(found.tensors)
    assert torch.allclose(backbone(IMAGES)["feature5"], last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.backbone."])
def test_vision_transformer_of_dino(tmp_path: Path, prefix: str) -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    state: Any = under(prefix, model.state_dict())
    path = tmp_path / "dino_deit.pth"
    torch.save({"student": state, "teacher": state} if prefix else state, path)
    found = read_checkpoint(path)
    assert found.arch == "vit_tiny_patch16_224"
    assert found.dropped == {"norm": 2}
    backbone = build_backbone(found.arch, sobel=False).eval()
    backbone.trunk.load_state_dict(found.tensors)
    images = noise(1, 3, 224, 224)
    expected = model.forward_intermediates(images, indices=[11], intermediates_only=True)[0]
    assert torch.allclose(backbone(images)["feature5"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("prefix", "content", "heads"),
    [
        ("module.base_encoder.", {"arch": "vit_small"}, 12),  # MoCo v3, pretraining
        ("module.", {"arch": "vit_small"}, 12),  # MoCo v3, linear classification
        ("module.", {}, 6),
        ("module.encoder_q.", {"arch": "deit_small"}, 6),  # MoCo v1's code with another's network
    ],
)
def test_small_vision_transformer_has_the_heads_of_who_wrote_it(
    tmp_path: Path, prefix: str, content: dict[str, str], heads: int
) -> None:
    """The shapes are the same; MoCo v3's vits.py passes num_heads=12, timm's network has 6."""
    model = timm.create_model("vit_small_patch16_224", num_heads=heads, num_classes=0).eval()
    path = tmp_path / "vit-s-300ep.pth.tar"
    torch.save({**content, "state_dict": under(prefix, model.state_dict())}, path)
    found = read_checkpoint(path)
    assert (MOCO_HEADS in found.notes) == (heads == 12)
    backbone = build_backbone(found.arch, sobel=False).eval()
    backbone.trunk.load_state_dict(found.tensors)
    images = noise(1, 3, 224, 224)
    expected = model.forward_intermediates(images, indices=[11], intermediates_only=True)[0]
    assert torch.allclose(backbone(images)["feature5"], expected, rtol=1e-4, atol=1e-5)


def plain_network(*, convolutions: list[tuple[int, int, int, int] | None]) -> nn.Sequential:
    """Convolution, norm, ReLU for each (filters, kernel, stride, padding); None is a max-pool."""
    layers: list[nn.Module] = []
    channels = 2
    alexnet = len(convolutions) < 10
    for item in convolutions:
        if item is None:
            layers.append(nn.MaxPool2d(3 if alexnet else 2, 2))
        else:
            filters, kernel, stride, padding = item
            layers += [nn.Conv2d(channels, filters, kernel, stride, padding)]
            layers += [nn.BatchNorm2d(filters), nn.ReLU()]
            channels = filters
    return nn.Sequential(*layers)


ALEXNET: list[tuple[int, int, int, int] | None] = [
    (96, 11, 4, 2),
    None,
    (256, 5, 1, 2),
    None,
    (384, 3, 1, 1),
    (384, 3, 1, 1),
    (256, 3, 1, 1),
    None,
]
VGG16: list[tuple[int, int, int, int] | None] = [
    None if width == 0 else (width, 3, 1, 1)
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
]


def activations(features: nn.Sequential, at: list[int], images: Tensor) -> list[Tensor]:
    maps = []
    with torch.inference_mode():
        for index, layer in enumerate(features):
            images = layer(images)
            if index in at:
                maps.append(images.clone())
    return maps


@pytest.fixture(scope="module")
def fair_alexnet() -> nn.Sequential:
    return randomised(plain_network(convolutions=ALEXNET), 1)  # type: ignore[return-value]


def test_alexnet_of_deepcluster(tmp_path: Path, fair_alexnet: nn.Sequential) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    state = under("features.module.", dict(fair_alexnet.state_dict()))
    state |= linear("classifier.1", 8, 16) | linear("classifier.4", 8, 8)
    state |= linear("top_layer", 9, 8) | under("sobel.", SOBEL_CONSTANTS)
    torch.save({"epoch": 500, "arch": "alexnet", "state_dict": state}, path)
    found = read_checkpoint(path)
    assert (found.arch, found.sobel, found.format) == ("alexnet", True, "deepcluster")
    assert found.dropped == {"classifier": 4, "top_layer": 2, "sobel": 4}
    images = noise(2, 3, 96, 96)
    expected = activations(fair_alexnet, [2, 6, 10, 13, 16], gradients(images))
    assert_same_features(found, expected, images)
    main(["add", str(path), "--name", "a", "--zoo", str(tmp_path / "zoo")])
    assert_same_maps(load_backbone(tmp_path / "zoo", "a")[0], expected, images)


def test_alexnet_of_vissl(tmp_path: Path, fair_alexnet: nn.Sequential) -> None:
    blocks = {0: "0.0", 1: "0.1", 4: "2.0", 5: "2.1", 8: "4.0", 9: "4.1"}
    blocks |= {11: "5.0", 12: "5.1", 14: "6.0", 15: "6.1"}
    state = under("sobel.", SOBEL_CONSTANTS)
    for name, tensor in fair_alexnet.state_dict().items():
        index, rest = name.split(".", 1)
        state[f"_feature_blocks.{blocks[int(index)]}.{rest}"] = tensor
    path = tmp_path / "alexnet.torch"
    torch.save({"classy_state_dict": {"base_model": {"model": {"trunk": state}}}}, path)
    found = read_checkpoint(path)
    assert (found.arch, found.sobel, found.format) == ("alexnet", True, "vissl")
    images = noise(2, 3, 96, 96)
    expected = activations(fair_alexnet, [2, 6, 10, 13, 16], gradients(images))
    assert_same_features(found, expected, images)


def test_vgg16_of_deepcluster(tmp_path: Path) -> None:
    features = randomised(plain_network(convolutions=VGG16), 2)
    assert isinstance(features, nn.Sequential)
    state = under("features.module.", dict(features.state_dict()))
    state |= linear("classifier.0", 8, 16) | linear("classifier.3", 8, 8)
    state |= linear("top_layer", 9, 8) | under("sobel.", SOBEL_CONSTANTS)
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 500, "arch": "vgg16", "state_dict": state}, path)
    found = read_checkpoint(path)
    assert (found.arch, found.sobel, found.format) == ("vgg16_bn", True, "deepcluster")
    images = noise(1, 3, 32, 32)
    assert_same_features(
        found, activations(features, [5, 12, 22, 32, 42], gradients(images)), images
    )


def test_files_of_old_torch_have_no_batch_counters(
    tmp_path: Path, models: dict[int, nn.Module]
) -> None:
    state = trunk_state(models[3])
    path = tmp_path / "old.pth"
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    found = read_checkpoint(path)
    assert (found.matched, len(found.assumed)) == (100, 20)


def test_counters_beyond_16_bits_are_not_taken_for_divergence(
    tmp_path: Path, models: dict[int, nn.Module]
) -> None:
    state = trunk_state(models[3])
    halves = {k: (v + 500_400 if k.endswith("tracked") else v).half() for k, v in state.items()}
    assert not all(torch.isfinite(tensor).all() for tensor in halves.values())
    path = tmp_path / "half.pth"
    torch.save(halves, path)
    found = read_checkpoint(path)
    assert (found.matched, len(found.assumed)) == (100, 20)
    assert torch.equal(found.tensors["conv1.weight"], halves["conv1.weight"].float())


ARCHITECTURES = (
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "wide_resnet50_2",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnet50w2",
    "resnet50w4",
    "vgg16_bn",
    "alexnet",
    "vit_small_patch16_224",
    "vit_base_patch8_224",
)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_architecture_is_told_by_shapes(arch: str) -> None:
    from benchmarks.backbones.backbone import weight_shapes
    from benchmarks.checkpoints.finding.guessing import guess_architecture

    shapes = {
        name.removeprefix("model.").replace("features_", "features."): tuple(shape)
        for name, shape in weight_shapes(arch, sobel=False).items()
    }
    assert guess_architecture(shapes) == arch


def refused(path: Path, content: Any, **options: str) -> str:
    torch.save(content, path)
    with pytest.raises(UserError) as error:
        read_checkpoint(path, **options)
    assert str(path) in str(error.value)
    return str(error.value)


def test_missing_and_unexpected_tensors_are_listed(
    tmp_path: Path, models: dict[int, nn.Module]
) -> None:
    state = trunk_state(models[3])
    del state["layer4.1.bn2.bias"]
    state["layer4.1.se.weight"] = noise(2)
    message = refused(tmp_path / "x.pth", state)
    assert "119 of 120 keys match" in message
    assert "missing: 1 (layer4.1.bn2.bias)" in message
    assert "unexpected: 1 (layer4.1.se.weight)" in message


def test_other_shapes_are_listed(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    state = trunk_state(models[3]) | {"layer1.0.conv1.weight": noise(64, 64, 1, 1)}
    message = refused(tmp_path / "x.pth", state)
    assert "layer1.0.conv1.weight (64, 64, 1, 1) instead of (64, 64, 3, 3)" in message


def test_small_image_stem_is_not_taken_for_the_common_one(
    tmp_path: Path, models: dict[int, nn.Module]
) -> None:
    state = trunk_state(models[3]) | {"conv1.weight": noise(64, 3, 3, 3)}
    message = refused(tmp_path / "cifar.pth", state)
    assert "is no resnet18, though that is the nearest: 119 of 120 keys match" in message
    assert "conv1.weight (64, 3, 3, 3) instead of (64, 3, 7, 7)" in message
    assert "--arch" not in message
    assert "another shape" in refused(tmp_path / "cifar.pth", state, arch="resnet18")


def test_wrong_architecture_is_refused(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    state = trunk_state(models[3])
    assert "is no resnet34: 120 of 216" in refused(tmp_path / "x.pth", state, arch="resnet34")


def test_unknown_names_are_refused_with_close_ones(
    tmp_path: Path, models: dict[int, nn.Module]
) -> None:
    path = tmp_path / "x.pth"
    torch.save(trunk_state(models[3]), path)
    with pytest.raises(UserError, match="unknown architecture 'resnet_18'; did you mean resnet18"):
        read_checkpoint(path, arch="resnet_18")
    with pytest.raises(UserError, match="unknown checkpoint format 'mmselfsup'; did you mean"):
        read_checkpoint(path, format="mmselfsup")


def test_format_that_does_not_fit(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    assert "is not of format 'moco'" in refused(
        tmp_path / "x.pth", trunk_state(models[3]), format="moco"
    )


def test_unknown_layout_says_what_is_there(tmp_path: Path) -> None:
    message = refused(tmp_path / "x.pth", {"generator": {"a": 1}, "epoch": 3})
    assert "holds no tensors of a network (at its top: 2 (generator, epoch))" in message


def test_one_of_several_files_says_so(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    state = trunk_state(models[3])
    part = {name: tensor for name, tensor in state.items() if not name.startswith("layer4")}
    assert "one of several files" in refused(tmp_path / "model-00001-of-00002.pth", part)


def test_diverged_weights_are_refused(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    state = trunk_state(models[3])
    state["layer2.0.conv1.weight"][0] = float("nan")
    assert "NaN or infinity in layer2.0.conv1.weight" in refused(tmp_path / "x.pth", state)


def test_two_trunks_that_should_be_one(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    file = openselfsup_moco(trunk_state(models[3]))
    file["state_dict"]["encoder_q.0.conv1.weight"] = noise(64, 3, 7, 7)
    assert "encoder_q.0.conv1.weight differs" in refused(tmp_path / "x.pth", file)


def test_other_sobel_filters_are_refused(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    file = mmselfsup_0_sobel(trunk_state(models[2]))
    file["state_dict"]["sobel_layer.sobel.1.weight"] = -SOBEL_CONSTANTS["1.weight"]
    assert "sobel_layer.sobel.1.weight is not the Sobel filter" in refused(tmp_path / "x.pth", file)


def test_sobel_is_decided_by_the_first_convolution(
    tmp_path: Path, models: dict[int, nn.Module]
) -> None:
    two, three = trunk_state(models[2]), trunk_state(models[3])
    path = tmp_path / "x.pth"
    assert "--sobel no" in refused(path, two, sobel="no")
    assert "--sobel yes" in refused(path, three, sobel="yes")
    constants = under("sobel_layer.sobel.", SOBEL_CONSTANTS)
    assert "conv1.weight takes 3 channels" in refused(path, three | constants)
    one = three | {"conv1.weight": noise(64, 1, 7, 7)}
    assert "conv1.weight takes 1 channels; a trunk takes 3, or 2 by Sobel" in refused(path, one)
    torch.save(two, path)
    assert read_checkpoint(path, sobel="yes").sobel
    torch.save(three, path)
    assert not read_checkpoint(path, sobel="no").sobel


def test_half_precision_becomes_single(tmp_path: Path, models: dict[int, nn.Module]) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in trunk_state(models[3]).items()}
    torch.save(state, tmp_path / "half.pth")
    tensors = read_checkpoint(tmp_path / "half.pth").tensors
    assert tensors["conv1.weight"].dtype == torch.float32
    assert torch.equal(tensors["conv1.weight"].half(), state["conv1.weight"])
