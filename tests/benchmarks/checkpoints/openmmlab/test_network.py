"""What OpenMMLab's configurations say of a network, read as text and built, or refused."""

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.backbones.backbone import build_backbone
from benchmarks.checkpoints.openmmlab.settings import read_settings
from benchmarks.checkpoints.openmmlab.unread import Unread
from benchmarks.checkpoints.reading import Imported, read_content
from slurm.errors import UserError
from tests.benchmarks.checkpoints.foreign import (
    assert_same_maps,
    noise,
    resnet,
    resnet_maps,
    trunk_state,
    under,
)

MODEL = resnet()
TV = trunk_state(MODEL)
IMAGES = noise(2, 3, 64, 64).sigmoid()  # pixels of RGB in 0..1

PIPELINE = """
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='Normalize', **img_norm_cfg)]
"""


def backbone(options: str = "", depth: int = 18, kind: str = "ResNet") -> str:
    return f"model = dict(type='X', backbone=dict(type='{kind}', depth={depth}, {options}))\n"


def read(text: Any, tv: dict[str, Tensor] = TV, key: str = "config") -> Imported:
    content = {"meta": {key: text, "epoch": 3}, "state_dict": under("backbone.", tv)}
    return read_content(Path("x.pth"), content)


def refused(text: Any, tv: dict[str, Tensor] = TV) -> str:
    with pytest.raises(UserError) as error:
        read(text, tv)
    assert str(error.value).startswith("x.pth carries the configuration of its network, and ")
    assert str(error.value).isprintable()
    return str(error.value)


def maps_of(found: Imported) -> tuple[Any, Tensor]:
    """The backbone that is built, and pixels normalised by what the card will say."""
    built = build_backbone(found.arch, sobel=found.sobel).eval()
    built.trunk.load_state_dict(found.tensors)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (found.mean, found.std))
    return built, (IMAGES - mean) / std


def test_what_is_as_usual_needs_no_note() -> None:
    text = backbone(
        "num_stages=4, out_indices=(3, ), style='pytorch', norm_cfg=dict(type='SyncBN')"
    )
    found = read(text + PIPELINE)
    assert (found.mean, found.std, found.notes) == (
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        (),
    )
    built, images = maps_of(found)
    assert_same_maps(built, resnet_maps(MODEL, images), images)


def test_a_file_that_says_nothing_is_noted() -> None:
    notes = " ".join(read("epochs = 3").notes)
    assert "strides and all else as in torchvision and timm were assumed" in notes
    assert "RGB, ImageNet's mean and std were assumed" in notes
    bare = read_content(Path("x.pth"), dict(TV)).notes
    assert " ".join(bare) == notes


@pytest.mark.parametrize(("name", "depth"), [("resnet50", 50), ("resnext50_32x4d", 50)])
def test_caffe_strides_in_the_first_convolution_of_a_block(name: str, depth: int) -> None:
    model = resnet(name)
    kind = "ResNeXt" if "next" in name else "ResNet"
    found = read(backbone("style='caffe'", depth, kind) + PIPELINE, trunk_state(model))
    assert found.arch == f"{name}_caffe"
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    built, images = maps_of(found)
    assert_same_maps(built, resnet_maps(model, images), images)


def test_style_says_nothing_of_basic_blocks() -> None:
    assert read(backbone("style='caffe'") + PIPELINE).arch == "resnet18"


CAFFE_PIXELS = "dict(type='{}', mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], {})"


@pytest.mark.parametrize(
    "text",
    [
        "img_norm_cfg = " + CAFFE_PIXELS.format("Normalize", "to_rgb=False"),
        "data = dict(test=dict(pipeline=["
        + CAFFE_PIXELS.format("mmdet.Normalize", "to_rgb=False")
        + "]))",
        "data_preprocessor = " + CAFFE_PIXELS.format("DetDataPreprocessor", "bgr_to_rgb=False"),
        "data_preprocessor = dict(mean=[103.53, 116.28, 123.675], std=[1, 1, 1])",
    ],
)
def test_bgr_pixels_that_are_not_divided(text: str) -> None:
    found = read(backbone() + text)
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == pytest.approx((1 / 255,) * 3)
    assert any("BGR" in note for note in found.notes)
    theirs = 255 * IMAGES.flip(1) - torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    built, images = maps_of(found)
    assert_same_maps(built, resnet_maps(MODEL, theirs), images)


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("x = dict(mean=[0.485, 0.456, 0.406], std=[0.228, 0.224, 0.225])", 0.485, 0.228),
        ("data_preprocessor = dict(mean=[0, 0, 0], std=[255, 255, 255], bgr_to_rgb=True)", 0, 1),
        ("data_preprocessor = dict(mean=[0, 0, 0], std=[1, 1, 1], to_rgb=True)", 0, 1 / 255),
        ("h = 127.5\nx = dict(mean=[0.5 * 255, h, h], std=[h] + [h, h])", 0.5, 0.5),
    ],
)
def test_means_of_0_to_1_and_of_0_to_255(text: str, mean: float, std: float) -> None:
    found = read(backbone() + text)
    assert (found.mean[0], found.std[0]) == pytest.approx((mean, std))
    assert not any("BGR" in note for note in found.notes)


def test_a_frozen_trunk_is_noted() -> None:
    notes = read(backbone("frozen_stages=4") + PIPELINE).notes
    assert notes == ("stages up to 4 were frozen while this file was trained",)


def test_what_tensors_show_too_may_be_said() -> None:
    """MMPretrain's own configurations of DINOv2 name the start of layer scale."""
    assert read(backbone("layer_scale_init_value=1e-05") + PIPELINE).notes == ()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("dilations=(1, 1, 2, 4)", "dilations=(1, 1, 2, 4)"),
        ("strides=(1, 2, 1, 1)", "strides=(1, 2, 1, 1)"),
        ("deep_stem=True", "deep_stem=True"),
        ("avg_down=True", "avg_down"),
        ("conv_cfg=dict(type='ConvWS')", "ConvWS"),
        ("act_cfg=dict(type='GELU')", "GELU"),
        ("norm_cfg=dict(type='BN', eps=1e-3)", "eps"),
        ("norm_cfg=dict(type='GN', num_groups=32)", "GN"),
        ("dcn=dict(type='DCN')", "dcn"),
        ("plugins=[dict(cfg=dict(type='ContextBlock'))]", "plugins"),
        ("multi_grid=(1, 2, 4)", "multi_grid"),
        ("num_stages=3", "num_stages=3"),
        ("my_option=7", "my_option=7, which is not known here"),
        ("style=chosen()", "style cannot be told without running it"),
        ("**others", "backbone cannot be told"),
    ],
)
def test_another_network_of_the_same_tensors_is_refused(options: str, says: str) -> None:
    assert says in refused(backbone(options))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (backbone(kind="HRNet"), "HRNet"),
        ("model = build()", "its model cannot be told"),
        (backbone() + "model['backbone']['style'] = 'caffe'", "its model cannot be told"),
        (backbone() + "model.update(style='caffe')", "its model cannot be told"),
        (backbone() + "if debug:\n    model = None", "its model cannot be told"),
        ("model = dict(", "no Python"),
        ("(" * 5000, "no Python"),
        ("x = " + "-" * 200000 + "1", "no Python"),
        ("x = " + "+".join(["1"] * 50000), "no Python"),
        ("x" * 1_000_001, "longer than"),
        (7, "it is a int"),
        (PIPELINE.replace("**img_norm_cfg", "mean=[1, 2, 3], std=[4, 5, 6]"), "in 2 ways"),
        ("img_norm_cfg = dict(mean=[0, 0, 0], std=[1, 1, 1])", "0..1 or 0..255"),
        ("img_norm_cfg = dict(mean=[0.1, 0.2], std=[1, 1, 1])", "not three numbers"),
        ("img_norm_cfg = dict(mean=load(), std=[1, 1, 1])", "not three numbers"),
        ("img_norm_cfg = dict(mean=[9, 9, 9], std=[1, 1, 1], to_rgb=flag)", "order of colours"),
        ("data_preprocessor = dict(mean=[9, 9, 9], std=[9, 9, 9], rgb_to_bgr=True)", "rgb_to_bgr"),
    ],
)
def test_what_cannot_be_read_is_refused(text: Any, says: str) -> None:
    assert says in refused(text)


@pytest.mark.parametrize("std", ["[0, 0, 0]", "[-58, 57, 57]", "[1e300, 1, 1]"])
def test_pixels_that_cannot_be(std: str) -> None:
    text = f"img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std={std}, to_rgb=True)"
    with pytest.raises(UserError, match=r"x\.pth: std .* is none of pixels"):
        read(text)


def test_files_that_inherit_are_merged_in_order() -> None:
    text = (
        "/home/a b/configs/_base_/resnet.py\n"
        "norm = dict(type='BN')\n"
        "model = dict(backbone=dict(type='ResNet', norm_cfg=norm, dilations=(1, 1, 1, 2)))\n"
        "configs/mine-8x.py\n"
        "_base_ = ['../_base_/resnet.py']\n"
        "model = dict(backbone=dict(dilations=(1, 1, 1, 1)), head=dict(_delete_=True, type='X'))\n"
    )
    settings_read = read_settings(text)
    assert settings_read["model"]["backbone"]["norm_cfg"] == {"type": "BN"}
    assert settings_read["model"]["head"] == {"type": "X"}
    assert read(text).arch == "resnet18"
    assert read(settings_read).arch == "resnet18"  # as a dictionary
    assert read(text, key="cfg").arch == "resnet18"


def test_heads_of_a_transformer_of_moco() -> None:
    state = timm.create_model("vit_small_patch16_224", num_classes=0).state_dict()
    options = "arch='{}', img_size=224, patch_size=16, stop_grad_conv1=True"
    text = f"model = dict(backbone=dict(type='MoCoV3ViT', {options}))"
    assert read(text.format("mocov3-small"), state).arch == "vit_small_patch16_224_12heads"
    assert read(text.format("deit-small"), state).arch == "vit_small_patch16_224"
    odd = text.replace("'{}'", "dict(embed_dims=384, num_layers=12, num_heads=8)")
    assert "num_heads" in refused(odd, state)
    assert "pre_norm" in refused(text.format("small").replace("stop_grad_conv1", "pre_norm"), state)


def test_nothing_in_a_configuration_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "run"
    calls = (f"__import__('pathlib').Path({str(mark)!r}).touch()", f"open({str(mark)!r}, 'w')")
    for call in calls:
        found = read(f"x = {call}\n{call}\ny = [{call} for _ in (1,)]\n" + backbone() + PIPELINE)
        assert found.arch == "resnet18"
        assert isinstance(read_settings(f"x = {call}")["x"], Unread)
    assert not mark.exists()


LITERALS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(value=LITERALS)
def test_literals_are_read_as_python_would(value: Any) -> None:
    text = f"a = {value!r}\nb = dict(c=a, **{{'d': [a]}})"
    try:
        expected: dict[str, Any] = {}
        exec(text, {"inf": float("inf")}, expected)  # our own text, to compare with
    except SyntaxError:
        return
    read_back = read_settings(text)
    if "inf" not in text:
        assert (read_back["a"], read_back["b"]) == (expected["a"], expected["b"])


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200) | st.text("dict()[]{}=,:'ab1.+-*\n ", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UserError):
        assert read(text).arch == "resnet18"


@pytest.mark.parametrize(
    "text",
    [
        "model = dict(type='SoftTeacher', detector=dict(backbone=dict(depth=18, style='caffe')))",
        "model = dict(architecture=dict(backbone=dict(type='ResNet', style = 'caffe')))",
        "bb = dict(type='ResNet', depth=18)\nmodel = dict(backbone=bb)\nbb['style'] = 'caffe'",
        "bb = dict(type='ResNet', depth=18)\nmodel = dict(backbone=bb)\nbb.update(style='caffe')",
        "model = dict(detector=dict(backbone=dict(type='ResNet', dilations=(1, 1, 2, 4))))",
        "model = dict(detector=dict(backbone=dict(type='ResNet', deep_stem=True)))",
        '{"model": {"detector": {"backbone": {"style": "caffe"}}}}',
    ],
)
def test_words_of_another_network_anywhere_are_refused(text: str) -> None:
    refused(text.replace("depth=18", "depth=50"), trunk_state(resnet("resnet50")))


@pytest.mark.parametrize(
    "text",
    [
        backbone("model_name='resnetblur18'", kind="TIMMBackbone"),
        backbone(depth=101),
        backbone("arch='b'", kind="VisionTransformer"),
    ],
)
def test_a_configuration_of_another_network_is_refused(text: str) -> None:
    refused(text)


PREFETCH = """
img_norm_cfg = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_pipeline = [dict(type='RandomResizedCrop', size=224)]
prefetch = False
if not prefetch:
    train_pipeline.extend([dict(type='ToTensor'), dict(type='Normalize', **img_norm_cfg)])
data = dict(train=dict(pipeline=train_pipeline, prefetch=prefetch))
"""
BACKBONE = "bb = dict(type='ResNet', depth=18)\nmodel = dict(type='X', backbone=bb)\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # An alias of what the model holds, whatever the option is.
        (BACKBONE + "bb['norm_cfg'] = dict(type='GN')", "its model cannot be told"),
        (BACKBONE + "bb.update(multi_grid=(1, 2, 4))", "its model cannot be told"),
        (BACKBONE + "bb |= dict(dcn=dict(type='DCN'))", "its model cannot be told"),
        (BACKBONE + "b = model['backbone']\nb['norm_eps'] = 1", "its model cannot be told"),
        (BACKBONE + "b = model.copy()\nb['backbone']['x'] = 1", "its model cannot be told"),
        (BACKBONE + "b = bb if debug else {}\nb['x'] = 1", "its model cannot be told"),
        (BACKBONE + "for b in [bb]:\n    b['x'] = 1", "its model cannot be told"),
        (BACKBONE + "all = dict(m=model)\nall['m']['backbone'] = 1", "its model cannot be told"),
        # A function can change what it is given.
        (BACKBONE + "tweak(model)", "its model cannot be told"),
        (BACKBONE + "x = tweak(bb)", "its model cannot be told"),
        (BACKBONE + "x = [bb.pop(k) for k in keys]", "its model cannot be told"),
        (BACKBONE + "x = [b.pop('depth') for b in [bb]]", "its model cannot be told"),
        (BACKBONE + "def f():\n    model['x'] = 1\nf()", "its model cannot be told"),
        # And what stands nowhere can change everything.
        (BACKBONE + "exec('bb[1] = 2')", "it uses exec"),
        (BACKBONE + "globals()['bb']['x'] = 1", "it uses globals"),
        (BACKBONE + "import builtins\nbuiltins.eval('0')", "it uses eval"),
        (BACKBONE + "from x import *", "its model cannot be told"),
        ("from .resnet import *", "its model cannot be told"),
        ("with read_base():\n    from .resnet import *", "its model cannot be told"),
        (BACKBONE + "from x import model", "its model cannot be told"),
        (BACKBONE + "import x as model", "its model cannot be told"),
        (
            "from x import *\nmodel = dict(type='X', backbone=dict(type='ResNet', plugins=mine))",
            "plugins cannot be told",
        ),
        # Pixels that are normalised in a way that could not be read to its end.
        (backbone() + "n = dict(mean=[1, 2, 3], std=[4, 5, 6])\nn.update(x)", "how it normalises"),
        (BACKBONE + "if x:\n    b = bb\n    b['x'] = 1", "its model cannot be told"),
        (BACKBONE + "if x:\n    b = bb\nb['x'] = 1", "its model cannot be told"),
        (BACKBONE + "all = []\nall.append(bb)\nall[0]['x'] = 1", "its model cannot be told"),
        (
            "p = []\nmodel = dict(type='X', backbone=dict(type='ResNet', plugins=p))\np.append(1)",
            "its model cannot be told",
        ),
        (
            "p = []\np.append(1)\nmodel = dict(type='X', backbone=dict(type='ResNet', plugins=p))",
            "plugins",
        ),
        (backbone() + "p = [dict(type='Normalize', **imported)]", "how it normalises pixels"),
    ],
)
def test_changes_that_only_running_would_tell_are_refused(text: str, says: str) -> None:
    assert says in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "from mmcv import Config\nimport os.path as osp\n" + BACKBONE,
        "from x import *\n" + BACKBONE,
        BACKBONE + "steps = len(model)\nprint(steps)",
        BACKBONE + "lr = round(0.1 * 2, 3)\nsteps = list(range(3))\nsteps.append(4)",
        BACKBONE + "from copy import deepcopy\nb = deepcopy(bb)\nb['x'] = 1",
        BACKBONE + "data = dict(x=1)\ndata['y'] = [dict(z=2)]\nif data:\n    lr = 3",
        BACKBONE + "other = dict(a=bb['depth'])\nother.update(b=1)",
        BACKBONE + PREFETCH,  # as in OpenSelfSup, whose files hold the text of the configuration
    ],
)
def test_what_leaves_the_model_alone_is_read(text: str) -> None:
    pixels = "" if "img_norm_cfg" in text else PIPELINE
    found = read(text + "\n" + pixels)
    assert (found.arch, found.std, found.notes) == ("resnet18", (0.229, 0.224, 0.225), ())


@pytest.mark.parametrize(
    "text",
    [
        "a = [1]\n" + "".join(f"a{n} = [a, {n}]\na{n}.append(1)\n" for n in range(5000)),
        "x = {}\n" + "y = x\nx.update(y)\n" * 20000,
        "x = [" + "[]," * 100_000 + "]\n" + "x.sort()\n" * 5000,
    ],
)
def test_many_changes_are_read_or_refused_in_seconds(text: str) -> None:
    start = time.monotonic()
    with contextlib.suppress(UserError):
        read(text)
    assert time.monotonic() - start < 20
