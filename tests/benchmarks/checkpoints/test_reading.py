"""Every layout, written as its project writes it, read, and compared with torchvision's forward."""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import scipy.ndimage
import timm
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.backbones.backbone import build_backbone
from benchmarks.checkpoints.formats import FORMATS
from benchmarks.checkpoints.reading import Imported, read_checkpoint
from slurm.errors import UserError

State = dict[str, Tensor]


def randomised(model: nn.Module, seed: int) -> nn.Module:
    """All tensors redrawn, norms included, so that no two could be swapped unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif tensor.dim() > 1:
                fan_in = tensor[0].numel()
                tensor.normal_(0.0, fan_in**-0.5, generator=generator)
            else:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def resnet(name: str = "resnet18", *, channels: int = 3, seed: int = 0) -> nn.Module:
    model = torchvision.models.get_model(name)
    if channels != 3:
        model.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return randomised(model, seed)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9))


IMAGES = noise(2, 3, 64, 64)


def gradients(images: Tensor) -> Tensor:
    """The Sobel stem by scipy: minus its right-minus-left and bottom-minus-top."""
    grey = images.double().mean(1).numpy()
    both = [
        [-scipy.ndimage.sobel(image, axis=axis, mode="constant") for axis in (1, 0)]
        for image in grey
    ]
    return torch.from_numpy(np.array(both)).float()


def resnet_maps(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Stem after ReLU and the stages of a torchvision ResNet, by hooks."""
    maps: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        maps.append(output.clone())

    hooks = [
        module.register_forward_hook(keep)
        for module in (model.bn1, model.layer1, model.layer2, model.layer3, model.layer4)
    ]
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()
    return [maps[0].relu(), *maps[1:]]


def trunk_state(model: nn.Module) -> State:
    """The trunk's tensors in torchvision's naming, without fc."""
    return {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("fc.")}


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def assert_same_features(found: Imported, expected: list[Tensor], images: Tensor = IMAGES) -> None:
    backbone = build_backbone(found.arch, sobel=found.sobel).eval()
    backbone.trunk.load_state_dict(found.tensors)
    with torch.inference_mode():
        maps = backbone(images)
    assert len(maps) == len(expected)
    for features, reference in zip(maps.values(), expected, strict=True):
        assert features.shape == reference.shape
        scale = float(reference.abs().max())
        assert torch.allclose(features, reference, atol=1e-5 * scale, rtol=1e-4)


SOBEL_CONSTANTS: State = {
    "0.weight": torch.full((1, 3, 1, 1), 1.0 / 3.0),
    "0.bias": torch.zeros(1),
    "1.weight": torch.tensor(
        [
            [[[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]],
            [[[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]]],
        ]
    ),
    "1.bias": torch.zeros(2),
}


def linear(prefix: str, outputs: int, inputs: int) -> State:
    return {f"{prefix}.weight": noise(outputs, inputs), f"{prefix}.bias": noise(outputs)}


def norm(prefix: str, width: int) -> State:
    names = ("weight", "bias", "running_mean", "running_var")
    counter = {f"{prefix}.num_batches_tracked": torch.tensor(3)}
    return {f"{prefix}.{name}": noise(width).abs() for name in names} | counter


def sgd_state(state: State) -> dict[str, Any]:
    """A real optimizer's state after a step."""
    parameters = [nn.Parameter(tensor[:1].clone()) for tensor in list(state.values())[:2]]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


HEAD = linear("head.fc_cls", 50, 512)
PROJECTION = linear("module.projection_head.0", 512, 512) | norm("module.projection_head.1", 512)


def torchvision_file(tv: State) -> Any:
    return OrderedDict(tv | linear("fc", 10, 512))


def mmselfsup_0(tv: State) -> Any:
    state = under("backbone.", tv) | HEAD
    meta = {"mmselfsup_version": "0.11.0", "epoch": 200, "iter": 9, "config": "model = dict()"}
    return {"meta": meta, "state_dict": OrderedDict(state), "optimizer": sgd_state(tv)}


def mmselfsup_0_sobel(tv: State) -> Any:
    file = mmselfsup_0(tv)
    file["state_dict"] |= under("sobel_layer.sobel.", SOBEL_CONSTANTS)
    return file


def mmselfsup_released(tv: State) -> Any:
    return {"state_dict": OrderedDict(tv), "author": "OpenSelfSup"}


def mmselfsup_1(tv: State) -> Any:
    state = under("backbone.", tv) | under("backbone.sobel_layer.sobel.", SOBEL_CONSTANTS)
    state |= HEAD | {"loss_weight": torch.ones(50)}
    hub = {"log_scalars": OrderedDict(), "runtime_info": OrderedDict(epoch=1), "resumed_keys": {}}
    return {
        "meta": {"cfg": "x = 1", "experiment_name": "deepcluster"},
        "state_dict": OrderedDict(state),
        "message_hub": hub,
        "optimizer": sgd_state(tv),
        "param_schedulers": [{"last_step": 3}],
    }


def mmcls(tv: State) -> Any:
    state = under("backbone.", tv) | linear("head.fc", 10, 512)
    return {"meta": {"CLASSES": ["a"]}, "state_dict": OrderedDict(state)}


def openselfsup_moco(tv: State) -> Any:
    state = under("encoder_q.0.", tv) | linear("encoder_q.1.mlp.0", 512, 512)
    state |= under("encoder_k.0.", {k: v * 2 for k, v in tv.items()})
    state |= under("backbone.", tv) | {"queue": noise(128, 64), "queue_ptr": torch.tensor([3])}
    return {"meta": {"epoch": 200}, "state_dict": OrderedDict(state), "optimizer": sgd_state(tv)}


def openselfsup_byol(tv: State) -> Any:
    state = under("online_net.0.", tv) | under("target_net.0.", {k: v * 2 for k, v in tv.items()})
    state |= under("backbone.", tv) | linear("head.predictor.fc0", 512, 512)
    return {"meta": {"epoch": 200}, "state_dict": OrderedDict(state)}


def vissl(tv: State) -> Any:
    heads = norm("0.channel_bn", 512) | linear("0.clf.clf.0", 10, 512)
    model = {"trunk": OrderedDict(under("_feature_blocks.", tv)), "heads": heads}
    base = {"model": model, "loss": {}, "meters": {}, "optimizer": sgd_state(tv)}
    return {
        "phase_idx": 99,
        "iteration": 500,
        "loss": {},
        "iteration_num": 500,
        "train_phase_idx": 99,
        "classy_state_dict": {"base_model": base, "train": True, "phase_idx": 99},
        "type": "checkpoint",
    }


def swav(tv: State) -> Any:
    state = under("module.", tv) | PROJECTION
    return OrderedDict(state | {"module.prototypes.weight": noise(300, 128)})


def deepcluster_v2(tv: State) -> Any:
    state = under("module.", tv) | PROJECTION
    state |= {f"module.prototypes.prototypes{i}.weight": noise(300, 128) for i in range(3)}
    return {"epoch": 800, "state_dict": state, "optimizer": sgd_state(tv), "amp": {"loss_scale": 1}}


def moco_v2(tv: State) -> Any:
    heads = linear("fc.0", 512, 512) | linear("fc.2", 128, 512)
    state = under("module.encoder_q.", tv | heads)
    state |= under("module.encoder_k.", {k: v * 2 for k, v in (tv | heads).items()})
    state |= {"module.queue": noise(128, 64), "module.queue_ptr": torch.tensor([64])}
    return {"epoch": 200, "arch": "resnet18", "state_dict": state, "optimizer": sgd_state(tv)}


def moco_v1(tv: State) -> Any:
    state = under("module.encoder_q.", tv | linear("fc", 128, 512))
    state |= under("module.encoder_k.", tv) | {"module.queue": noise(128, 64)}
    return {"epoch": 200, "arch": "resnet18", "state_dict": state}


def dino(tv: State) -> Any:
    other = {name: tensor * 2 for name, tensor in tv.items()}
    head = {"head.mlp.0.weight": noise(8, 512), "head.last_layer.weight_g": noise(16, 1)}
    return {
        "student": under("module.", under("backbone.", other) | head),
        "teacher": under("module.", under("backbone.", tv) | head),
        "optimizer": sgd_state(tv),
        "epoch": 800,
        "args": argparse.Namespace(arch="resnet18", lr=0.3, output_dir=Path("/checkpoint")),
        "dino_loss": {"center": noise(1, 16)},
    }


def solo(prefix: str) -> Callable[[State], Any]:
    def write(tv: State) -> Any:
        state = under(prefix, tv) | linear("projector.0", 128, 512) | linear("classifier", 10, 512)
        state |= {"prototypes.0.weight": noise(10, 128)}
        return lightning(state)

    return write


def lightly(tv: State) -> Any:
    state = under("backbone.", tv) | linear("projection_head.layers.0", 128, 512)
    return lightning(state | linear("online_classifier.classification_head", 10, 512))


def lightning_sequential(tv: State) -> Any:
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    state = {}
    for name, tensor in tv.items():
        module, rest = name.split(".", 1)
        state[f"backbone.{numbers[module]}.{rest}"] = tensor
    return lightning(state | linear("criterion.head", 10, 512))


def lightning(state: State) -> Any:
    return {
        "epoch": 99,
        "global_step": 1000,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": OrderedDict(state),
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "dirpath": "/x"}},
        "optimizer_states": [sgd_state(state)],
        "lr_schedulers": [{"last_epoch": 99}],
        "hparams_name": "cfg",
        "hyper_parameters": {"method": "deepclusterv2", "paths": [Path("/datasets")]},
    }


# name of the file -> (layout to be recognised, what writes it, channels of the first convolution)
FILES: dict[str, tuple[str, Callable[[State], Any], int]] = {
    "resnet18-torchvision.pth": ("flat", torchvision_file, 3),
    "dino_resnet_backbone.pth": ("flat", OrderedDict, 3),
    "timm-training.pth.tar": ("flat", lambda tv: {"arch": "resnet18", "state_dict": tv}, 3),
    "ddp.pth": ("data-parallel", lambda tv: {"state_dict": under("module.", tv)}, 3),
    "epoch_200.pth": ("mmselfsup-0.x", mmselfsup_0, 3),
    "epoch_200-sobel.pth": ("mmselfsup-0.x", mmselfsup_0_sobel, 2),
    "deepcluster-sobel_r18-bb8681e2.pth": ("mmselfsup-backbone", mmselfsup_released, 2),
    "mmselfsup-1.pth": ("mmselfsup-1.x", mmselfsup_1, 2),
    "mmcls.pth": ("mmcls", mmcls, 3),
    "openselfsup-moco.pth": ("openselfsup", openselfsup_moco, 3),
    "openselfsup-byol.pth": ("openselfsup", openselfsup_byol, 3),
    "model_final_checkpoint_phase99.torch": ("vissl", vissl, 3),
    "vissl-converted.torch": (
        "vissl",
        lambda tv: {"model_state_dict": under("_feature_blocks.", tv)},
        3,
    ),
    "vissl-flat.torch": ("vissl", lambda tv: under("_feature_blocks.", tv), 3),
    "swav_800ep_pretrain.pth.tar": ("swav", swav, 3),
    "deepclusterv2_800ep_pretrain.pth.tar": ("deepcluster-v2", deepcluster_v2, 3),
    "moco_v1_200ep.pth.tar": ("moco", moco_v1, 3),
    "moco_v2_800ep.pth.tar": ("moco", moco_v2, 3),
    "dino_resnet_full.pth": ("dino", dino, 3),
    "solo.ckpt": ("solo-learn", solo("backbone."), 3),
    "solo-old.ckpt": ("solo-learn", solo("encoder."), 3),
    "lightly.ckpt": ("lightly", lightly, 3),
    "lightning-sequential.ckpt": ("lightning", lightning_sequential, 3),
}


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
    torch.save(write(trunk_state(models[channels])), path)
    found = read_checkpoint(path)
    assert (found.arch, found.sobel, found.format) == ("resnet18", channels == 2, layout)
    assert found.matched == len(found.tensors) == 120
    assert not found.assumed
    assert found.std[0] == (0.228 if layout in ("swav", "deepcluster-v2") else 0.229)
    assert bool(found.notes) == (layout in ("swav", "deepcluster-v2"))
    assert_same_features(found, maps[channels])
    assert read_checkpoint(path, format=layout).arch == "resnet18"


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
    from benchmarks.checkpoints.guessing import guess_architecture

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
    assert "give --arch" in refused(tmp_path / "cifar.pth", state)
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
    assert "no known layout (at its top: generator, epoch)" in message


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
