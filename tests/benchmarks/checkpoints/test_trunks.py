"""Which trunk of a file is taken: under any keys and wrappers, damaged, or one of several."""

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks import voc_svm
from benchmarks.checkpoints.cards import read_card
from benchmarks.checkpoints.reading import Imported, read_checkpoint, read_content
from benchmarks.checkpoints.weights import fingerprint
from benchmarks.registry import load_backbone, main
from slurm.errors import UserError
from tests.benchmarks.checkpoints.foreign import (
    FILES,
    State,
    assert_same_maps,
    dino,
    doubled,
    linear,
    noise,
    resnet,
    resnet_maps,
    timm_ema,
    trunk_state,
    under,
)
from tests.benchmarks.voc_data import write_voc

PATH = Path("x.pth")
TRUNKS = {channels: trunk_state(resnet(channels=channels)) for channels in (2, 3)}
TV = TRUNKS[3]


def read(content: Any, **options: Any) -> Imported:
    return read_content(PATH, content, **options)


def refused(content: Any, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        read(content, **options)
    return str(error.value)


def assert_is(found: Imported, tv: State) -> None:
    assert found.tensors.keys() == tv.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tv.items())


# --- one wrong tensor ---------------------------------------------------------------------------


def dictionaries(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        yield content
        for value in content.values():
            yield from dictionaries(value)


def spoil(content: Any, tensor: Tensor, kind: str) -> None:
    """Do something to the first place of the file that holds `tensor`."""
    state, name = next(
        (state, name)
        for state in dictionaries(content)
        for name, value in state.items()
        if value is tensor
    )
    if kind in ("missing", "renamed"):
        del state[name]
    if kind == "renamed":
        state[f"{name}s"] = tensor
    if kind == "extra":
        state[f"{name}_extra"] = noise(3)
    if kind == "misshaped":
        state[name] = torch.zeros(*tensor.shape, 2)


@settings(max_examples=80, deadline=None)
@given(
    file=st.sampled_from(sorted(FILES)),
    index=st.integers(0, 119),
    kind=st.sampled_from(("missing", "renamed", "extra", "misshaped")),
)
def test_one_wrong_tensor_of_the_trunk_is_refused(file: str, index: int, kind: str) -> None:
    _, write, channels = FILES[file]
    tv = TRUNKS[channels]
    name = list(tv)[index]
    content = write(dict(tv))
    spoil(content, tv[name], kind)
    counter = name.endswith("num_batches_tracked")
    if kind == "missing" and counter:
        assert name in read(content).assumed  # which old files lack, and evaluation does not use
    else:
        message = refused(content)
        assert "\n" not in message
        lost = kind == "misshaped" or (kind != "extra" and not counter)
        if "should be a copy of" not in message:  # OpenSelfSup's files hold the trunk twice
            assert f"{119 if lost else 120} of 120 keys match" in message
            assert kind != "extra" or f"{name.rpartition('.')[2]}_extra" in message


# --- wrappers and containers --------------------------------------------------------------------

WRAPPERS = (
    "_orig_mod",
    "module",
    "model",
    "backbone",
    "encoder",
    "trunk",
    "net",
    "student",
    "teacher",
    "_fsdp_wrapped_module",
    "_forward_module",
    "_checkpoint_wrapped_module",
    "my_network",
    "0",
)
CONTAINERS = (
    "state_dict",
    "model",
    "model_state",
    "module",
    "network",
    "weights",
    "params",
    "teacher",
    "ema",
    "model_state_dict",
    "whatever",
)
INSIDE = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@settings(max_examples=40, deadline=None)
@given(
    containers=st.lists(st.sampled_from(CONTAINERS), max_size=3),
    wrappers=st.lists(st.sampled_from(WRAPPERS), max_size=4),
    inside=st.none() | st.sampled_from(INSIDE),
    head=st.booleans(),
)
def test_any_nesting(
    containers: list[str], wrappers: list[str], inside: str | None, head: bool
) -> None:
    state = {
        name.replace(".conv2.", f".{inside}.conv2.") if inside else name: tensor
        for name, tensor in TV.items()
    }
    content: Any = under("".join(f"{part}." for part in wrappers), state)
    content |= linear("linear", 5, 512) if head else {}
    for key in containers:
        content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"step": noise(1)}}}}
    found = read(content)
    assert_is(found, TV)
    assert found.matched == 120
    assert found.dropped == ({"linear": 2} if head else {})


def test_prefixes_are_told_apart_from_numbered_children() -> None:
    """nn.Sequential(normalise, trunk): the trunk's own names, whatever the first child is."""
    content = under("1.", TV) | {"0.mean": noise(3), "0.std": noise(3)}
    assert_is(read(content), TV)
    del content["1.layer2.0.conv1.weight"]
    content["1.layer2.0.se.weight"] = noise(3)
    message = refused(content)
    assert "missing: 1 (layer2.0.conv1.weight)" in message
    assert "unexpected: 1 (1.layer2.0.se.weight)" in message
    assert "bn1.layer2" not in message


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_224"])
def test_wrapped_transformers(name: str) -> None:
    state = timm.create_model(name).state_dict()
    found = read({"weights": under("_orig_mod.encoder.", state)})
    assert (found.arch, found.dropped) == (name, {"norm": 2, "head": 2})


# --- several trunks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "taken", "other"),
    [
        (timm_ema(TV), "state_dict_ema", "state_dict"),
        ({"model": doubled(TV), "model_ema": TV}, "model_ema", "model"),
        ({"state_dict": doubled(TV), "model_ema": TV}, "model_ema", "state_dict"),
        (FILES["pycontrast.pth"][1](TV), "model.encoder", "model_ema"),
        (dino(TV), "teacher.backbone", "student"),
        ({"model": under("teacher.backbone.", TV) | under("student.backbone.", doubled(TV))},
         "model.teacher.backbone", "student"),
        (FILES["mmdet.pth"][1](TV), "state_dict.backbone", "ema_backbone"),
        (FILES["mmpretrain-ema.pth"][1](TV), "state_dict.backbone", "ema_state_dict"),
        (FILES["moco_v2_800ep.pth.tar"][1](TV), "state_dict.encoder_q", "encoder_k"),
        (FILES["openselfsup-byol.pth"][1](TV), "state_dict.backbone", "target_net"),
        (FILES["solo-momentum.ckpt"][1](TV), "state_dict.backbone", "momentum_backbone"),
        (FILES["lightning-average.ckpt"][1](TV), "state_dict.network", "current_model_state"),
    ],
)  # fmt: skip
def test_the_trunk_that_its_project_evaluates(content: Any, taken: str, other: str) -> None:
    found = read(copy.copy(content))
    assert_is(found, TV)
    note = next(note for note in found.notes if "trunks in the file" in note)
    assert f"{taken} was taken: " in note
    assert other in note
    assert len(found.trunks) >= 2
    theirs = read(content, which=other)
    assert torch.equal(theirs.tensors["conv1.weight"], TV["conv1.weight"] * 2)
    assert f"--which {other}" in " ".join(theirs.notes)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"state_dict": TV, "ema": doubled(TV)}, ("state_dict", "ema")),
        ({"model": TV, "ema": {"module": doubled(TV)}}, ("model", "ema")),
        ({"student": TV, "teacher": doubled(TV)}, ("student", "teacher")),
        (under("teacher.", TV) | under("student.", doubled(TV)), ("teacher", "student")),
        (TV | under("ema.", doubled(TV)), ("top", "ema")),
        ({"encoder": TV, "target_encoder": doubled(TV)}, ("encoder", "target_encoder")),
    ],
)
def test_without_a_rule_all_are_listed_and_none_is_taken(
    content: Any, names: tuple[str, str]
) -> None:
    message = refused(content)
    assert "nothing says which is meant" in message
    assert "--which" in message
    for name, factor in zip(names, (1, 2)):
        assert f"{name} (resnet18)" in message
        found = read(content, which=name)
        assert torch.equal(found.tensors["conv1.weight"], TV["conv1.weight"] * factor)
    unknown = refused(content, which="teecher")
    assert f"{names[0]} (resnet18)" in unknown


def test_a_damaged_trunk_does_not_hide_the_choice() -> None:
    """The teacher lacks a tensor, so the student must not be taken in its stead."""
    for name in ("conv1.weight", "layer1.0.conv1.weight", "layer4.1.bn2.bias"):
        content = dino(TV)
        del content["teacher"][f"module.backbone.{name}"]
        assert f"missing: 1 ({name})" in refused(content)
        both = {"model": TV, "ema": {k: v for k, v in TV.items() if k != name}}
        assert "ema (resnet18, 119 of 120 tensors)" in refused(both)


def test_the_same_trunk_twice_is_one() -> None:
    copied = {name: tensor.clone() for name, tensor in TV.items()}
    found = read({"model": TV, "ema": copied})
    assert_is(found, TV)
    assert not any("trunks" in note for note in found.notes)


def test_parts_of_other_networks_are_no_second_trunk() -> None:
    decoder = {f"decoder_blocks.{i}.norm1.weight": noise(64) for i in range(8)}
    head = {name: tensor for name, tensor in under("roi_head.", TV).items() if "layer4" in name}
    assert_is(read(under("backbone.", TV) | decoder | head), TV)


def test_two_architectures_in_a_file() -> None:
    large = trunk_state(resnet("resnet34"))
    content = {"student": TV, "teacher": large}
    message = refused(content)
    assert "student (resnet18), teacher (resnet34)" in message
    assert read(content, which="teacher").arch == "resnet34"
    assert read(content, arch="resnet34").arch == "resnet34"


STUDENTS = {
    "mobile": lambda: timm.create_model("mobilenetv3_small_050"),
    "dense": lambda: torchvision.models.densenet121(),
    "patches": lambda: timm.create_model("vit_tiny_patch16_224", img_size=96, depth=2),
}


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize(
    "arrange",
    [
        lambda other: {"state_dict": under("student.", other) | under("teacher.", TV)},
        lambda other: {"model": other, "teacher": TV},
        lambda other: under("backbone.", other) | under("teacher.", TV),
    ],
)
def test_a_network_that_is_not_known_is_not_passed_over(student: str, arrange: Any) -> None:
    """The teacher alone is of a known architecture, but the student may be meant."""
    content = arrange(dict(STUDENTS[student]().state_dict()))
    message = refused(content)
    assert "teacher (resnet18), and what is no network that is known here in " in message
    assert "--which" in message
    found = read(content, which="teacher")
    assert_is(found, TV)
    assert any("not looked at, as no network that is known here" in note for note in found.notes)


@pytest.mark.parametrize(
    "beside",
    [
        under("decoder.", dict(torchvision.models.resnet18().layer4.state_dict()))
        | {"decoder.last.weight": noise(64, 3, 4, 4), "decoder.last.bias": noise(3)},
        under("loss.lpips.", dict(torchvision.models.densenet121().state_dict())),
        under("metrics.fid.net.", dict(torchvision.models.densenet121().state_dict())),
    ],
)
def test_decoders_and_judges_are_no_networks_that_could_be_meant(beside: State) -> None:
    for content in (under("backbone.", TV) | beside, {"backbone": TV, "other": beside}):
        found = read(content)
        assert_is(found, TV)
        assert not any("not looked at" in note for note in found.notes)


# --- heads and what else stands beside ----------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module.backbone."])
@pytest.mark.parametrize(
    "name",
    ["linear.weight", "last_linear.bias", "mask_token", "decoder_embed.weight", "cls_head.weight",
     "decoder_pos_embed", "classifier.4.weight", "my_projection.0.weight", "prototypes0.weight"],
)  # fmt: skip
def test_heads_are_listed_and_left(prefix: str, name: str) -> None:
    found = read(under(prefix, TV | {name: noise(3)}))
    assert_is(found, TV)
    assert sum(found.dropped.values()) == 1


def test_counts_of_operations_are_left() -> None:
    counts = {f"{name.rpartition('.')[0]}.total_ops": torch.zeros(1) for name in TV}
    found = read(TV | counts | {"total_params": torch.zeros(1)})
    assert_is(found, TV)
    assert found.dropped == {"total_ops": len(counts), "total_params": 1}


@pytest.mark.parametrize(
    "name", ["layer5.0.conv1.weight", "conv2.weight", "bn2.bias", "layer1.2.x", "stem.0.weight"]
)
def test_more_of_a_trunk_is_refused_unless_it_is_dropped(name: str) -> None:
    content = {"state_dict": under("module.", TV | {name: noise(3)})}
    assert f"unexpected: 1 (state_dict.module.{name})" in refused(content)
    for prefix in (name, f"module.{name}", f"state_dict.module.{name}"):
        found = read(content, drop=[prefix])
        assert_is(found, TV)
        assert any(f"--drop {prefix}" in note for note in found.notes)
    assert "has no tensor whose name starts so" in refused(content, drop=["layer9"])
    assert "missing: 1 (bn1.bias)" in refused(content, drop=[name, "bn1.bias"])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("bam1.spatial.conv.weight", (4, 64, 1, 1)),
        ("ca.fc1.weight", (4, 64)),
        ("input_bn.running_mean", (3,)),
        ("mixer.weight", (1, 1, 3)),
        ("mean", (3,)),
        ("normalize.std", (3,)),
        ("in_norm.weight", (3,)),
        ("channel_attn.fc1.weight", (4, 512)),
        ("excitation.0.weight", (4, 64)),
        ("film.weight", (512, 512)),
        ("extra_bn.running_mean", (256,)),
        ("between.gamma", (64,)),
        ("mixing.weight", (64, 64)),
        ("grid.weight", (64, 64, 3, 3)),
    ],
)
def test_modules_that_may_be_on_the_way_are_refused(name: str, shape: tuple[int, ...]) -> None:
    """Between two stages they change every feature behind them."""
    for prefix in ("", "module.", "backbone."):
        message = refused(under(prefix, TV | {name: noise(*shape)}))
        assert f"unexpected: 1 ({prefix}{name}" in message
        assert "can be left out by --drop PREFIX" in message
        assert_is(read(under(prefix, TV | {name: noise(*shape)}), drop=[prefix + name]), TV)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("bam1.spatial.conv.weight", (4, 64, 1, 1)),
        ("ca.fc1.weight", (4, 64)),
        ("input_bn.running_mean", (3,)),
        ("in_norm.weight", (3,)),
        ("excitation.0.weight", (4, 64)),
    ],
)
@pytest.mark.parametrize("prefix", ["backbone.", "model.backbone.", "encoder."])
def test_so_are_they_beside_the_trunks_prefix(
    name: str, shape: tuple[int, ...], prefix: str
) -> None:
    beside = "model." * prefix.startswith("model.") + name
    content = {"state_dict": under(prefix, TV) | {beside: noise(*shape)}}
    message = refused(content)
    assert f"unexpected: 1 (state_dict.{beside})" in message
    assert (
        f"can be left out by --drop {beside.rpartition(name)[0]}{name.partition('.')[0]}" in message
    )
    assert_is(read(content, drop=[beside]), TV)


def test_a_trunk_whose_name_begins_as_anothers_is_no_part_of_it() -> None:
    """PixPro's `encoder` and `encoder_k`, BLIP's `visual_encoder` and `visual_encoder_m`."""
    other = trunk_state(resnet(seed=1))
    content = under("model.encoder_k.", other) | under("model.encoder.", TV)
    message = refused(content)
    assert "choose one, such as --which model.encoder" in message
    assert_is(read(content, which="model.encoder"), TV)
    assert_is(read(content, which="model.encoder_k"), other)


def test_modules_within_the_trunks_own_are_not_to_be_dropped() -> None:
    """Of a seresnet50, say, which is another network without them."""
    message = refused(dict(timm.create_model("seresnet50").state_dict()))
    assert "--drop" not in message


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("simclr_layer.0.weight", (512, 512)),
        ("pred.weight", (9, 512)),
        ("bottleneck.running_mean", (512,)),
        ("proxies", (9, 512)),
        ("log_vars", (2,)),
        ("cls.weight", (9, 512)),
        ("proj.weight", (128, 512, 1, 1)),
        ("gem.p", (1, 1, 1, 1)),
        ("center2", (1, 1, 128)),
        ("flattened.weight", (9, 512 * 49)),
        ("lam", (1,)),
        ("masked_embed", (1, 512)),  # iBOT's, which its students keep
    ],
)
def test_what_works_on_pooled_features_is_a_head(name: str, shape: tuple[int, ...]) -> None:
    found = read(under("backbone.", TV | {name: noise(*shape)}))
    assert_is(found, TV)
    part = name.partition(".")[0]
    notes = [note for note in found.notes if "taken for heads" in note]
    assert notes == [f"taken for heads by the shapes of their tensors, and left: {part}"]


def test_heads_of_known_names_need_no_note() -> None:
    known = {"fc.weight": noise(9, 512), "projection_head.0.weight": noise(64, 512)}
    notes = read(under("backbone.", TV | known)).notes
    assert not any("taken for heads" in note for note in notes)


def test_a_head_may_work_on_another() -> None:
    two = {"lin1.weight": noise(128, 512), "lin2.weight": noise(3, 128), "lin2.bias": noise(3)}
    assert_is(read(under("backbone.", TV | two)), TV)
    assert "lin2.weight" in refused(under("backbone.", TV | {"lin2.weight": two["lin2.weight"]}))


def test_tokens_that_change_a_transformer_are_refused() -> None:
    state = timm.create_model("vit_tiny_patch16_224").state_dict()
    assert "registers" in refused(state | {"registers": noise(1, 4, 192)})
    assert "prompt_embeddings" in refused(state | {"prompt_embeddings": noise(1, 4, 192)})
    assert "dist_token" in refused(state | {"dist_token": noise(1, 1, 192)})
    assert "norm_pre.weight" in refused(state | {"norm_pre.weight": noise(192)})


# --- what is said -------------------------------------------------------------------------------


def test_arch_is_asked_for_only_where_it_helps() -> None:
    deep = timm.create_model("resnet26d").state_dict()
    assert "give --arch" in refused(under("module.", dict(deep)))
    assert read(under("module.", dict(deep)), arch="resnet26d").matched == len(deep) - 2
    text = {f"bert.encoder.layer.{i}.attention.weight": noise(4, 4) for i in range(30)}
    generator = {f"main.{i}.weight": noise(4, 3, 3, 3) for i in range(30)}
    for content in (text, generator, {"head": linear("fc", 3, 4)}, {"a": {"b": noise(2)}}):
        message = refused(content)
        assert "--arch" not in message
        assert "holds no trunk" in message
    renamed = {name.replace("layer", "stuff"): tensor for name, tensor in TV.items()}
    assert "--arch" not in refused(renamed)


def test_names_from_files_are_escaped_and_cut() -> None:
    wild = "layer1.0.\x1b[31mred\x07\n" + "x" * 5000
    message = refused(TV | {wild: noise(2)})
    assert message.isprintable()
    assert len(message) < 700
    assert "\\x1b[31mred" in message
    several = {"\x1b[2Jone": TV, "two\u202e": doubled(TV)}
    assert refused(several).isprintable()
    assert refused({"\x1b[2J": 3}).isprintable()
    assert refused({"\x1b[2J" * 3000: noise(3)}).isprintable()


def test_many_dropped_names_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = TV | {f"head_{i}\x1b.weight": noise(512) for i in range(120)}
    torch.save(state, tmp_path / "x.pth")
    main(["add", str(tmp_path / "x.pth"), "--name", "x", "--zoo", str(tmp_path), "--dry-run"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("dropped"))
    assert "120 (head_0\\x1b (1), " in line
    assert ".. 112 more" in line
    assert len(line) < 300


def test_which_and_drop_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "full.pth"
    torch.save({"a": TV | {"bn2.bias": noise(4)}, "b": doubled(TV)}, path)
    words = ["add", str(path), "--name", "x", "--zoo", str(tmp_path)]
    with pytest.raises(UserError, match="nothing says which is meant"):
        main(words)
    main([*words, "--which", "a", "--drop", "bn2"])
    output = capsys.readouterr().out
    assert "by --which a; the others: b (resnet18)" in output
    backbone, card = load_backbone(tmp_path, "x")
    assert torch.equal(backbone.state_dict()["trunk.conv1.weight"], TV["conv1.weight"])
    assert any("--drop bn2" in note for note in card.notes)


def test_dino_student_from_a_file_to_features(tmp_path: Path) -> None:
    path = tmp_path / "full.pth"
    model = resnet(seed=4)
    torch.save({**dino(TV), "student": under("module.backbone.", trunk_state(model))}, path)
    words = ["add", str(path), "--zoo", str(tmp_path), "--name"]
    main([*words, "student", "--format", "dino-student"])
    images = noise(2, 3, 64, 64)
    assert_same_maps(load_backbone(tmp_path, "student")[0], resnet_maps(model, images), images)


def test_reading_is_quick() -> None:
    """Beyond what `read_file` takes, 100 MB in under two seconds, however many names there are."""
    content: Any = {"state_dict": under("module.", trunk_state(resnet("resnet50")))}
    content["state_dict"] |= {f"module.head.{i}.weight": noise(1) for i in range(5000)}
    read(content)  # builds the architecture, as any command does once
    started = time.process_time()
    read(content)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("file", ["moco_v2_800ep.pth.tar", "timm-ema.pth.tar", "compiled.pt"])
def test_from_a_file_to_a_record(file: str, tmp_path: Path) -> None:
    """`registry add`, then a benchmark of the name: its record is of the trunk in the file."""
    _, write, channels = FILES[file]
    torch.save(write(dict(TRUNKS[channels])), tmp_path / file)
    zoo = tmp_path / "zoo"
    main(["add", str(tmp_path / file), "--name", "mine", "--zoo", str(zoo)])
    voc = write_voc(tmp_path / "VOC2007")
    benchmark = ["--ckpt", "mine", "--data", str(voc), "--zoo", str(zoo), "--workers", "0"]
    voc_svm.main([*benchmark, "--layers", "feature5", "--json", str(tmp_path / "record.json")])
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["checkpoint"]["weights"] == read_card(zoo, "mine").weights
    assert record["checkpoint"]["weights"] == fingerprint(TRUNKS[channels])
    assert 0 < record["layers"]["feature5"]["map"] <= 100


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_dilated_networks_of_segmentation_are_refused(name: str, prefix: str) -> None:
    """Their backbone has the tensors of a ResNet-50, and other features."""
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=True)
    state = under(prefix, model.state_dict())
    for content in (state, {"model": state}):
        assert "is a segmentation network" in refused(content)


def test_other_means_beside_the_trunk_are_noted() -> None:
    usual = {"0.mean": torch.tensor([0.485, 0.456, 0.406]), "0.std": torch.ones(3)}
    notes = [note for note in read(under("1.", TV) | usual).notes if "normalise pixels" in note]
    assert notes == ["0.std is [1.0, 1.0, 1.0]: it was not used to normalise pixels"]
    of_bytes = {"data_preprocessor.mean": torch.tensor([123.675, 116.28, 103.53])}
    assert not any("normalise pixels" in note for note in read(under("1.", TV) | of_bytes).notes)


def test_dictionaries_that_hold_themselves() -> None:
    content: dict[str, Any] = {"model": dict(TV)}
    content["self"] = content
    assert_is(read(content), TV)
    many: Any = {"x": noise(1)}
    for _ in range(12):
        many = {str(i): many for i in range(10)}
    assert "more than 100000 dictionaries" in refused(many)


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_the_network_that_a_file_names_is_built(tmp_path: Path) -> None:
    """resnetblur18 has all tensors of resnet18, and other features."""
    state = timm.create_model("resnetblur18", num_classes=0).state_dict()
    for name in ("resnetblur18", "resnetblur18.in1k", "hf-hub:timm/resnetblur18.in1k"):
        path = saved(tmp_path / "net.pth", {"arch": name, "state_dict": state})
        assert read_checkpoint(path).arch == "resnetblur18"
    other = timm.create_model("resnet18", num_classes=0).state_dict()
    path = saved(tmp_path / "net.pth", {"arch": "resnet34", "state_dict": other})
    found = read_checkpoint(path)
    assert found.arch == "resnet18"
    assert any("names the architecture resnet34, not resnet18" in note for note in found.notes)


def test_two_spellings_of_a_name_are_two_tensors(tmp_path: Path) -> None:
    first, second = (timm.create_model("resnet18", num_classes=0).state_dict() for _ in range(2))
    both = {**first, **{name.replace(".", "_"): one for name, one in second.items()}}
    with pytest.raises(UserError, match="there twice"):
        read_checkpoint(saved(tmp_path / "net.pth", both))
    stray = {**first, "layer1_0_conv1_weight": second["layer1.0.conv1.weight"]}
    with pytest.raises(UserError, match="there twice"):
        read_checkpoint(saved(tmp_path / "net.pth", stray))


@pytest.mark.parametrize("prefix", ["", "model.", "_orig_mod.", "net.module."])
def test_a_segmentation_network_is_refused_under_any_prefix(tmp_path: Path, prefix: str) -> None:
    network = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None)
    state = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    path = saved(tmp_path / "net.pth", {"state_dict": state})
    with pytest.raises(UserError, match="is a segmentation network"):
        read_checkpoint(path)
    with pytest.raises(UserError, match="is a segmentation network"):
        read_checkpoint(path, drop=[f"{prefix}classifier"])


def test_a_sobel_stem_that_nothing_names_is_noted(tmp_path: Path) -> None:
    state = timm.create_model("resnet18", num_classes=0, in_chans=2).state_dict()
    found = read_checkpoint(saved(tmp_path / "net.pth", state))
    assert found.sobel
    assert any("DeepCluster's Sobel was assumed" in note for note in found.notes)


def test_weights_beside_the_card_of_others_are_refused(tmp_path: Path) -> None:
    from benchmarks.registry import register

    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        state = timm.create_model("resnet18", features_only=True).state_dict()
        register(tmp_path, name, state, arch="resnet18", sobel=False)
    first, second = (tmp_path / f"checkpoints/{name}/weights.safetensors" for name in "ab")
    assert read_checkpoint(first).arch == "resnet18"
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match="does not hold the weights of the card beside it"):
        read_checkpoint(first)


@pytest.mark.parametrize(
    "place",
    [
        lambda second: {"callbacks": {"EMACallback": {"ema_state_dict": second}}},
        lambda second: {"optimal_model": second},
        lambda second: {"optim_ema_model": second},
        lambda second: {"ema": [second]},
        lambda second: {"averages": ({"decay": 0.999}, {"weights": second})},
    ],
)
def test_a_second_trunk_is_seen_wherever_it_lies(tmp_path: Path, place: Any) -> None:
    first, second = (timm.create_model("resnet18", num_classes=0).state_dict() for _ in range(2))
    path = saved(tmp_path / "net.pth", {"model": first, **place(second)})
    with pytest.raises(UserError, match="--which"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "address"),
    [
        ({"ema": {"decay": 0.99, "shadow_params": list(TV.values())}}, "ema.shadow_params"),
        ({"fp16": {"masters": [[*TV.values()], [TV["conv1.weight"]]]}}, "fp16.masters.0"),
    ],
)
def test_weights_without_names_are_noted(content: Any, address: str) -> None:
    """As torch_ema saves the average: in the order of the parameters, by no name."""
    found = read({"model": TV, **content})
    assert_is(found, TV)
    floats = sum(tensor.is_floating_point() for tensor in TV.values())
    (note,) = [note for note in found.notes if "without names" in note]
    assert note.startswith(f"{address} is a list of {floats} tensors without names, perhaps averag")


@pytest.mark.parametrize(
    "content",
    [
        {"rng": [torch.ones(8, dtype=torch.uint8)] * 8},
        {"history": [torch.tensor(0.5)] * 8, "counts": [torch.ones(3)] * 8},
        {"optimizer": {"state": [TV["conv1.weight"]] * 8}},
    ],
)
def test_other_lists_are_no_weights(content: Any) -> None:
    assert not [note for note in read({"model": TV, **content}).notes if "without names" in note]
