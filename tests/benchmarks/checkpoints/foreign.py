"""Checkpoint files as other projects write them, by code of its own; and their true features."""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.backbones.backbone import Backbone

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


def assert_same_maps(backbone: Backbone, expected: list[Tensor], images: Tensor = IMAGES) -> None:
    """Within 1e-5 of the largest value of each map."""
    with torch.inference_mode():
        maps = backbone(images)
    assert len(maps) == len(expected)
    for features, reference in zip(maps.values(), expected, strict=True):
        assert features.shape == reference.shape
        scale = float(reference.abs().max())
        assert torch.allclose(features, reference, atol=1e-5 * scale, rtol=1e-5)


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


def pycontrast(tv: State) -> Any:
    head = linear("head.0", 512, 512)
    return {
        "model": under("module.", under("encoder.", tv) | head),
        "contrast": {"memory": noise(64, 128)},
        "optimizer": sgd_state(tv),
        "epoch": 800,
        "model_ema": under("encoder.", doubled(tv)) | head,
    }


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


def doubled(tv: State) -> State:
    """Another trunk."""
    return {name: tensor * 2 for name, tensor in tv.items()}


def vissl_bare(tv: State) -> Any:
    trunk = {"trunk": OrderedDict(tv), "heads": linear("0.clf.clf.0", 10, 512)}
    return {"classy_state_dict": {"base_model": {"model": trunk}}, "iteration": 500}


def mmdetection_ema(tv: State) -> Any:
    """As ExpMomentumEMAHook leaves it: the average under the plain names, the others as ema_*."""
    state = under("backbone.", tv) | linear("bbox_head.fc", 4, 512) | linear("neck.fc", 4, 512)
    buffers = under("backbone.", doubled(tv)) | linear("bbox_head.fc", 4, 512)
    state |= {f"ema_{name.replace('.', '_')}": tensor for name, tensor in buffers.items()}
    return {"meta": {"epoch": 300}, "state_dict": OrderedDict(state), "optimizer": sgd_state(tv)}


def mmengine_ema(tv: State) -> Any:
    state = under("backbone.", tv) | linear("head.fc", 10, 512)
    other = under("module.backbone.", doubled(tv)) | {"steps": torch.tensor(9)}
    return {
        "meta": {"epoch": 300, "experiment_name": "x"},
        "state_dict": OrderedDict(state),
        "ema_state_dict": OrderedDict(other),
        "message_hub": {"log_scalars": {}},
    }


def timm_ema(tv: State) -> Any:
    head = linear("fc", 10, 512)
    return {
        "epoch": 9,
        "arch": "resnet18",
        "state_dict": doubled(tv) | head,
        "optimizer": sgd_state(tv),
        "version": 2,
        "state_dict_ema": tv | head,
        "metric": 80.0,
    }


def torchvision_ema(tv: State) -> Any:
    """As references/classification saves with --model-ema: an AveragedModel beside the model."""
    average = under("module.", tv | linear("fc", 10, 512)) | {"n_averaged": torch.tensor(5)}
    model = doubled(tv) | linear("fc", 10, 512)
    return {"model": model, "optimizer": sgd_state(tv), "epoch": 5, "model_ema": average}


def dinov2_teacher(tv: State) -> Any:
    return {"teacher": under("backbone.", tv) | linear("dino_head.mlp.0", 8, 512)}


def dinov2_training(tv: State) -> Any:
    inner = "_checkpoint_wrapped_module.conv1"
    wrapped = {name.replace("conv1", inner): tensor for name, tensor in tv.items()}
    state = under("student.backbone._fsdp_wrapped_module.", doubled(tv))
    state |= under("teacher.backbone._fsdp_wrapped_module.", wrapped)
    return {"model": state | linear("teacher.dino_head.mlp.0", 8, 512), "iteration": 9}


def lightning_average(tv: State) -> Any:
    file = lightning(under("network.", tv))
    file["current_model_state"] = under("network.", doubled(tv))
    return file | {"averaging_state": {"n_averaged": torch.tensor(5)}}


def solo_momentum(tv: State) -> Any:
    state = under("backbone.", tv) | under("momentum_backbone.", doubled(tv))
    return lightning(state | linear("momentum_projector.0", 8, 512) | linear("classifier", 5, 512))


def compiled(tv: State) -> Any:
    return {"network": {"weights": under("_orig_mod.module.encoder.", tv)}, "step": 3}


def sharded(tv: State) -> Any:
    return {
        "model_state": {
            f"_fsdp_wrapped_module.net.{name.replace('.0.', '.0._checkpoint_wrapped_module.')}": t
            for name, t in tv.items()
        }
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
    "pycontrast.pth": ("pycontrast", pycontrast, 3),
    "dino_resnet_full.pth": ("dino", dino, 3),
    "solo.ckpt": ("solo-learn", solo("backbone."), 3),
    "solo-old.ckpt": ("solo-learn", solo("encoder."), 3),
    "lightly.ckpt": ("lightly", lightly, 3),
    "lightning-sequential.ckpt": ("lightning", lightning_sequential, 3),
    "vissl-bare.torch": ("vissl", vissl_bare, 3),
    "mmdet.pth": ("openmmlab", mmdetection_ema, 3),
    "mmpretrain-ema.pth": ("mmcls", mmengine_ema, 3),
    "timm-ema.pth.tar": ("timm-ema", timm_ema, 3),
    "torchvision-ema.pth": ("timm-ema", torchvision_ema, 3),
    "dinov2-teacher.pth": ("dinov2", dinov2_teacher, 3),
    "dinov2-training.pth": ("dinov2", dinov2_training, 3),
    "lightning-average.ckpt": ("lightning-average", lightning_average, 3),
    "solo-momentum.ckpt": ("solo-learn", solo_momentum, 3),
    "compiled.pt": ("wrapped", compiled, 3),
    "fsdp.pt": ("wrapped", sharded, 3),
}
