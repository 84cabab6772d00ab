"""Modules beside a trunk that has a prefix: what may be on its way, and what is left."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from benchmarks.checkpoints.reading import Imported, read_content
from benchmarks.registry import load_backbone, main
from slurm.errors import UserError
from tests.benchmarks.checkpoints.foreign import (
    FILES,
    IMAGES,
    State,
    assert_same_maps,
    doubled,
    lightning,
    linear,
    noise,
    norm,
    resnet,
    resnet_maps,
    trunk_state,
    under,
)

PATH = Path("x.pth")
MODEL = resnet()
TV = trunk_state(MODEL)
PREFIXES = ("backbone.", "model.backbone.", "encoder.", "module.net.encoder.", "1.")
ON_THE_WAY = "what may change its features"


def read(content: Any, **options: Any) -> Imported:
    return read_content(PATH, content, **options)


def refused(content: Any, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        read(content, **options)
    return str(error.value)


def is_trunk(found: Imported) -> bool:
    return all(torch.equal(found.tensors[name], tensor) for name, tensor in TV.items())


def notes_on_modules(found: Imported) -> list[str]:
    return [note for note in found.notes if "taken for heads" in note or "nothing tells" in note]


def drawn(**shapes: tuple[int, ...]) -> State:
    """Tensors by names in which __ stands for a dot."""
    return {name.replace("__", "."): noise(*shape) for name, shape in shapes.items()}


def state(name: str, module: nn.Module) -> State:
    return under(f"{name}.", dict(module.state_dict()))


# --- what may be on the way ---------------------------------------------------------------------

CHANGING: dict[str, State] = {
    "group norm of colours": state("input_norm", nn.GroupNorm(1, 3)),
    "batch norm of colours": state("input_bn", nn.BatchNorm2d(3)),
    "batch norm without weights": state("pre.0", nn.BatchNorm2d(3, affine=False)),
    "layer norm of colours": drawn(whiten__weight=(3, 1, 1), whiten__bias=(3, 1, 1)),
    "scale of colours": drawn(in_norm__weight=(3,)),
    "convolution of colours": state("colour", nn.Conv2d(3, 3, 1)),
    "from image to image": state("clean", nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 3, 3))),
    "bottleneck attention": drawn(bam1__conv__weight=(64, 64, 3, 3), bam1__bn__weight=(64,)),
    "its first convolution": drawn(bam1__spatial__conv__weight=(4, 64, 1, 1)),
    "channel attention": drawn(ca__fc1__weight=(4, 64), ca__fc2__weight=(64, 4)),
    "squeeze": drawn(se_2__squeeze__weight=(8, 128, 1, 1), se_2__expand__weight=(128, 8, 1, 1)),
    "localization of a spatial transformer": state("stn.localization", nn.Conv2d(3, 8, 7)),
    "its last layer": drawn(fc_loc__weight=(6, 32), fc_loc__bias=(6,)),
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", CHANGING)
def test_modules_beside_a_wrapped_trunk_may_be_on_the_way(kind: str, prefix: str) -> None:
    parent = prefix.rstrip(".").rpartition(".")[0]
    parent = f"{parent}." if parent else ""
    module = under(parent, CHANGING[kind])
    first = next(name for name, tensor in module.items() if tensor.is_floating_point())
    state = under(prefix, TV) | linear(f"{parent}projector.0", 128, 512) | module
    for content in (state, lightning(state)):
        message = refused(content)
        assert ON_THE_WAY in message
        assert first in message
        assert "can be left out by --drop " in message
        found = read(content, drop=[parent + next(iter(CHANGING[kind])).partition(".")[0]])
        assert is_trunk(found)
        assert found.dropped == {f"{parent}projector": 2}
    assert "unexpected" in refused(TV | CHANGING[kind])  # as beside a trunk without a prefix


def test_so_they_may_in_dictionaries_of_their_own() -> None:
    """As {"encoder": encoder.state_dict(), "input_norm": norm.state_dict()}."""
    content = {"encoder": TV, "input_norm": dict(nn.BatchNorm2d(3).state_dict())}
    assert "unexpected: 4 (input_norm.weight" in refused(content)
    assert is_trunk(read(content, drop=["input_norm"]))


def test_another_network_beside_hides_none_of_them() -> None:
    """A discriminator, which makes all of the dictionary one of an unknown network."""
    other = drawn(netD__0__weight=(64, 3, 4, 4), netD__2__weight=(128, 64, 4, 4))
    state = under("backbone.", TV) | other | linear("classifier", 9, 512)
    assert is_trunk(read(lightning(state)))
    for module in (CHANGING["batch norm of colours"], CHANGING["from image to image"]):
        assert ON_THE_WAY in refused(lightning(state | module))


@pytest.mark.parametrize(
    "module",
    [
        state("target_norm", nn.BatchNorm2d(3)),  # the first words are those of heads or training
        state("input_projection", nn.Conv2d(3, 3, 1)),
        state("input_projection", nn.Conv2d(12, 3, 1)),
        state("color_linear", nn.Linear(3, 3)),
        drawn(transformer__localization__0__weight=(8, 3, 7, 7), transformer__fc__weight=(6, 32)),
        drawn(regressor__weight=(128, 128, 1, 1)),  # of a distillation, or not
        drawn(grid__weight=(64, 64, 3, 3)),
        drawn(extra__a__weight=(16, 128, 1, 1), extra__b__weight=(128, 16, 3, 3)),
        drawn(squeeze2__weight=(64, 256, 1, 1)),
        state("out_bn", nn.BatchNorm1d(3)),  # of three outputs
    ],
)
def test_what_may_or_may_not_be_on_the_way_is_noted(module: State) -> None:
    found = read(under("backbone.", TV) | module)
    assert is_trunk(found)
    (note,) = notes_on_modules(found)
    assert next(iter(module)).partition(".")[0] in note


def test_adapters_in_a_dictionary_of_their_own_are_noted() -> None:
    lora = drawn(blocks__0__attn__qkv__lora_A=(4, 192), blocks__0__attn__qkv__lora_B=(576, 4))
    (note,) = notes_on_modules(read({"backbone": VIT, "lora": lora}))
    assert "lora" in note
    colours = {"matrix": noise(3, 3), "shift": noise(3)}
    (note,) = notes_on_modules(read({"backbone": VIT, "color": colours}))
    assert "color" in note


def test_at_every_level_above_the_trunk() -> None:
    for name in ("net.model.input_norm", "net.input_norm", "input_norm"):
        content = under("net.model.backbone.", TV) | state(name, nn.GroupNorm(1, 3))
        assert f"unexpected: 2 ({name}.weight" in refused(content)


def test_what_is_left_is_named_where_it_parts_from_the_trunk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the features are those of the trunk alone."""
    network = under("model.backbone.", TV) | linear("model.projector.0", 64, 512)
    content = lightning(network | state("model.input_norm", nn.GroupNorm(1, 3)))
    torch.save(content, tmp_path / "mine.ckpt")
    words = ["add", str(tmp_path / "mine.ckpt"), "--name", "mine", "--zoo", str(tmp_path)]
    with pytest.raises(UserError, match="beside it what may change its features"):
        main(words)
    main([*words, "--drop", "model.input_norm"])
    output = capsys.readouterr().out
    (line,) = [line for line in output.splitlines() if line.startswith("dropped")]
    assert line.split(maxsplit=1)[1] == "model.projector (2)"
    assert_same_maps(load_backbone(tmp_path, "mine")[0], resnet_maps(MODEL, IMAGES))


# --- what is left -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "note"),
    [
        (drawn(mixer__weight=(1, 1, 3)), "nothing tells"),
        (drawn(channel_attn__fc1__weight=(4, 512)), "nothing tells"),  # or of pooling
        (drawn(film__weight=(512, 512)), "nothing tells"),
        (drawn(extra_bn__running_mean=(256,)), "nothing tells"),
        (drawn(between__gamma=(64,)), "nothing tells"),
        (drawn(mixing__weight=(64, 64)), "nothing tells"),
        (drawn(attention__0__weight=(128, 512)), "nothing tells"),
        (drawn(netd__0__weight=(64, 3, 4, 4)), "nothing tells"),
        (drawn(hogs__weight_x=(3, 1, 3, 3)), "nothing tells"),
        (drawn(ce__weight=(3,)), "nothing tells"),  # weights of three classes
        (drawn(simclr__0__weight=(512, 512)), "taken for heads"),
        (drawn(bn__running_mean=(512,)), "taken for heads"),
        (drawn(pixel_mean=(3,)), "was not used to normalise pixels"),
        (drawn(normalize__std=(1, 3, 1, 1)), "was not used to normalise pixels"),
    ],
)
def test_what_cannot_be_told_is_noted(module: State, note: str) -> None:
    name = next(iter(module)).partition(".")[0]
    for prefix in ("", "model."):
        found = read(under(prefix, under("backbone.", TV) | module))
        assert is_trunk(found)
        (said,) = [text for text in found.notes if prefix + name in text]
        assert note in said
        assert found.dropped == {prefix + name: 1}


def test_second_names_of_the_trunks_parts_are_no_modules() -> None:
    """self.backbone = resnet18(); self.layer1 = self.backbone.layer1"""
    stages = {name: tensor for name, tensor in TV.items() if name.startswith(("layer1", "layer3"))}
    found = read(lightning(under("backbone.", TV) | stages))
    assert is_trunk(found)
    assert not notes_on_modules(found)


def detection(name: str) -> State:
    get = torchvision.models.get_model
    return dict(get(name, weights=None, weights_backbone=None).state_dict())


def mlp(name: str, *widths: int) -> State:
    layers = zip(range(0, 99, 3), widths, widths[1:], strict=False)
    made = [linear(f"{name}.{i}", b, a) | norm(f"{name}.{i + 1}", b) for i, a, b in layers]
    return {key: tensor for layer in made for key, tensor in layer.items()}


BACKBONE, ENCODER = under("backbone.", TV), under("encoder.", TV)
RESNET50 = trunk_state(torchvision.models.resnet50())
VIT = dict(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict())
MAE_DECODER = drawn(
    decoder_blocks__0__norm1__weight=(64,),
    decoder_blocks__0__attn__qkv__weight=(192, 64),
    mask_token=(1, 1, 64),
    decoder_pos_embed=(1, 197, 64),
    decoder_embed__weight=(64, 192),
    decoder_pred__weight=(768, 64),
)

# What projects save beside a trunk, by the names and shapes of their code; none is noted.
LEFT: dict[str, Any] = {
    "torchvision's Faster R-CNN": detection("fasterrcnn_resnet50_fpn"),
    "torchvision's Mask R-CNN v2": detection("maskrcnn_resnet50_fpn_v2"),
    "torchvision's RetinaNet": under("model.", detection("retinanet_resnet50_fpn")),
    "torchvision's FCOS": detection("fcos_resnet50_fpn"),
    "MMDetection": {
        "meta": {"epoch": 1},
        "state_dict": under("backbone.", RESNET50)
        | drawn(
            neck__lateral_convs__0__conv__weight=(256, 256, 1, 1),
            neck__fpn_convs__0__conv__weight=(256, 256, 3, 3),
            rpn_head__rpn_conv__weight=(256, 256, 3, 3),
            roi_head__bbox_head__fc_cls__weight=(9, 1024),
        ),
    },
    "MMSelfSup's DenseCL": {
        "meta": {"epoch": 1},
        "state_dict": BACKBONE
        | mlp("neck.mlp", 512, 128)
        | drawn(
            neck__mlp2__0__weight=(512, 512, 1, 1),
            neck__mlp2__2__weight=(128, 512, 1, 1),
            queue=(128, 99),
            queue2=(128, 99),
        ),
    },
    "MMSelfSup's MaskFeat": {
        "meta": {"epoch": 1},
        "state_dict": under("backbone.", VIT)
        | drawn(target_generator__weight_x=(3, 1, 3, 3), target_generator__gkern=(16, 16))
        | drawn(head__fc__weight=(108, 192)),
    },
    "VISSL": {
        "classy_state_dict": {
            "base_model": {
                "model": {
                    "trunk": under("_feature_blocks.", TV),
                    "heads": linear("0.clf.0", 3, 512),
                },
                "loss": {"queue": noise(64, 9), "memory": {"embeddings": noise(9, 64)}},
            }
        }
    },
    "solo-learn's MoCo v3": lightning(
        BACKBONE
        | under("momentum_backbone.", doubled(TV))
        | mlp("projector", 512, 64, 64)
        | mlp("momentum_projector", 512, 64, 64)
        | mlp("predictor", 64, 64)
        | linear("classifier", 3, 512)
        | linear("momentum_classifier", 3, 512)
        | drawn(queue=(128, 64))
    ),
    "lightly's SwAV": lightning(
        BACKBONE
        | mlp("projection_head.layers", 512, 512, 128)
        | drawn(prototypes__heads__0__weight=(30, 128), criterion__memory_bank__bank=(128, 9))
        | linear("online_classifier.classification_head", 3, 512)
    ),
    "DINO in Lightning": lightning(
        under("model.student.backbone.", TV)
        | under("model.teacher.backbone.", TV)
        | linear("model.student.head.mlp.0", 64, 512)
        | linear("model.teacher.head.mlp.0", 64, 512)
        | drawn(model__loss__center=(1, 64), dino_loss__center=(1, 64))
    ),
    "iBOT": {
        "student": under("module.backbone.", VIT) | drawn(module__head__last_layer__weight=(9,)),
        "teacher": under("backbone.", VIT) | linear("head.mlp.0", 64, 192),
        "ibot_loss": drawn(center=(1, 9), center2=(1, 1, 9)),
    },
    "MAE in Lightning": lightning(under("encoder.", VIT) | MAE_DECODER),
    "lightly's MAE": under("backbone.vit.", VIT)
    | under("decoder.", MAE_DECODER)
    | drawn(backbone__mask_token=(1, 1, 192)),
    "segmentation_models_pytorch": ENCODER
    | drawn(
        decoder__blocks__0__conv1__0__weight=(256, 768, 3, 3),
        decoder__blocks__4__conv2__0__weight=(16, 16, 3, 3),
        segmentation_head__0__weight=(1, 16, 3, 3),
    ),
    "contrastive language-image training": lightning(
        under("image_encoder.", TV)
        | drawn(
            text_encoder__embeddings__word_embeddings__weight=(99, 768),
            text_encoder__encoder__layer__0__attention__self__query__weight=(768, 768),
            image_projection__weight=(64, 512),
            text_projection__weight=(64, 768),
            logit_scale=(1,),
        )
    ),
    "dictionaries": {
        "encoder": TV,
        "predictor": mlp("net", 512, 64),
        "hyper_parameters": drawn(class_weights=(3,), scale=(3,)),
        "queue": {"queue": noise(2, 9, 64)},
    },
}

# The same; of these the card notes what is listed.
NOTED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "DETR": (
        under("backbone.0.body.", RESNET50)
        | linear("class_embed", 92, 256)
        | drawn(
            input_proj__weight=(256, 2048, 1, 1),
            query_embed__weight=(100, 256),
            bbox_embed__layers__0__weight=(256, 256),
            transformer__encoder__layers__0__linear1__weight=(2048, 256),
        ),
        ("heads: class_embed, input_proj",),
    ),
    "a pyramid of other names": (
        under("backbone.", RESNET50)
        | drawn(
            toplayer__weight=(256, 2048, 1, 1),
            latlayer1__weight=(256, 1024, 1, 1),
            smooth1__weight=(256, 256, 3, 3),
        ),
        ("heads: toplayer, latlayer1", "doubt: smooth1"),
    ),
    "a U-Net of other names": (
        under("base_model.", TV | linear("fc", 9, 512))
        | {f"layer{n}_1x1.0.weight": noise(64, 64, 1, 1) for n in (0, 1)}
        | drawn(
            conv_up0__0__weight=(128, 320, 3, 3),
            conv_original_size0__0__weight=(64, 3, 3, 3),
            conv_original_size1__0__weight=(64, 64, 3, 3),
            conv_last__weight=(6, 64, 1, 1),
        ),
        ("doubt: layer0_1x1, layer1_1x1, conv_up0, conv_original_size0, conv_original_size1, "
         "conv_last",),
    ),
    "CenterNet": (
        BACKBONE
        | drawn(
            deconv_layers__0__weight=(512, 256, 4, 4),
            hm__0__weight=(64, 256, 3, 3),
            hm__2__weight=(80, 64, 1, 1),
        ),
        ("doubt: hm",),
    ),
    "a decoder into colours": (
        BACKBONE
        | drawn(
            rec__0__weight=(64, 512, 3, 3),
            rec__2__weight=(3, 64, 3, 3),
            rec__2__bias=(3,),
            refine__weight=(3, 3, 3, 3),
            refine__bias=(3,),
        ),
        ("doubt: rec, refine",),
    ),
    "OpenCLIP with timm": (
        under("visual.trunk.", RESNET50)
        | linear("visual.head.proj", 512, 2048)
        | drawn(
            transformer__resblocks__0__attn__in_proj_weight=(1536, 512),
            token_embedding__weight=(99, 512),
            ln_final__weight=(512,),
            text_projection=(512, 512),
        ),
        ("heads: token_embedding, ln_final",),
    ),
    "solo-learn's Barlow Twins": (
        lightning(BACKBONE | mlp("projector", 512, 2048) | norm("bn", 2048)),
        ("heads: bn",),
    ),
    "distillation": (
        BACKBONE | drawn(adapters__0__weight=(256, 64, 1, 1), adapters__1__weight=(512, 128, 1, 1)),
        ("doubt: adapters",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("project", LEFT)
def test_what_projects_save_beside_a_trunk_is_left(project: str) -> None:
    assert not notes_on_modules(read(LEFT[project]))


@pytest.mark.parametrize("project", NOTED)
def test_what_projects_save_beside_a_trunk_may_be_noted(project: str) -> None:
    content, said = NOTED[project]
    starts = {
        "heads": "taken for heads by the shapes of their tensors, and left: ",
        "doubt": "left, though nothing tells whether they are on the way from the image to the "
        "features: ",
    }
    expected = [starts[kind] + names for kind, names in (one.split(": ") for one in said)]
    assert notes_on_modules(read(content)) == expected


@pytest.mark.parametrize("file", FILES)
def test_published_layouts_have_no_module_in_doubt(file: str) -> None:
    _, write, channels = FILES[file]
    found = read(write(trunk_state(resnet(channels=channels))))
    assert not any("nothing tells" in note for note in found.notes)
