"""Other features than the last map's mean: right, kept apart, refused where there are none."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import timm
import torch

from benchmarks.backbones.backbone import build_backbone
from benchmarks.backbones.class_token import class_token, has_class_token
from benchmarks.catalog.further.imagenet_knn import IMAGENET_KNN
from benchmarks.catalog.further.imagenet_logreg import IMAGENET_LOGREG
from benchmarks.catalog.images import DIGIT
from benchmarks.catalog.records import read_record
from benchmarks.datasets import imagenet
from benchmarks.features.avgpool import avgpool_item
from benchmarks.features.choice import CLS_NOTE
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.knn.__main__ import main as knn
from benchmarks.logreg.__main__ import main as logreg
from benchmarks.registry import load_backbone
from benchmarks.results import Record, key_of
from reports.clashes.alike import measurement
from reports.collect import collect
from reports.footnotes import footnotes
from reports.measured import measured_tables
from reports.reproduce import command as command_of
from slurm.cli import run_command
from slurm.errors import UserError
from tests.benchmarks.trunks import random_trunk

SMALL = ("--set", "image.crop=32", "--set", "image.resize=32", "--device", "cpu", "--workers", "0")


def test_a_token_is_timms_own_before_the_last_norm() -> None:
    torch.manual_seed(0)
    whole = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True).eval()
    backbone = build_backbone("vit_tiny_patch16_224", sobel=False).eval()
    trunk: torch.nn.Module = backbone.trunk.model  # type: ignore[assignment]
    trunk.load_state_dict({k: v for k, v in whole.state_dict().items() if k in trunk.state_dict()})
    images = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        found = class_token(backbone, images)
        expected = whole.forward_features(images)[:, 0]  # after the norm
        assert torch.allclose(whole.norm(found), expected, atol=1e-5)
        assert not torch.allclose(found, expected, atol=1e-2)


@pytest.mark.parametrize(
    ("arch", "there"),
    [
        ("vit_small_patch14_reg4_dinov2", True),
        ("deit_tiny_distilled_patch16_224", True),
        ("vit_base_patch16_siglip_224", False),
        ("resnet18", False),
        ("alexnet", False),
    ],
)
def test_which_trunks_have_one(arch: str, there: bool) -> None:
    assert has_class_token(arch) is there


def test_registers_and_distillation_tokens_are_not_taken() -> None:
    for arch, side in (
        ("vit_small_patch14_reg4_dinov2", 28),
        ("deit_tiny_distilled_patch16_224", 32),
    ):
        backbone = build_backbone(arch, sobel=False).eval()
        last = backbone.trunk.model.blocks[-1]  # type: ignore[union-attr, index]
        seen: list[torch.Tensor] = []
        last.register_forward_hook(lambda module, given, made, seen=seen: seen.append(made))
        with torch.no_grad():
            found = class_token(backbone, torch.randn(1, 3, side, side))
        assert torch.equal(found, seen[0][:, 0])


def test_features_of_another_map_have_a_folder_of_their_own(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    trunk = random_trunk(tmp_path)
    items = {
        feature: avgpool_item(trunk, tiny_imagenet, "imagenet", DIGIT, "fp32", feature)
        for feature in ("avgpool", "feature3")
    }
    for item in items.values():
        item.run()
    names = {feature: item.directory.name for feature, item in items.items()}
    assert names["feature3"].startswith("imagenet-feature3-")
    assert names["avgpool"].startswith("imagenet-avgpool-")
    backbone, card = load_backbone(tmp_path, "random:resnet18")
    split = imagenet.load(tiny_imagenet).splits["val"]
    transform = build_transform(DIGIT, card.mean, card.std)
    batches = load_batches(split, transform, np.arange(18), batch_size=18, seed=0, epoch=0)
    with torch.inference_mode():
        expected = torch.cat([backbone(pixels)["feature3"].mean((2, 3)) for pixels, _ in batches])
    assert items["feature3"].read().val == pytest.approx(expected.numpy(), abs=1e-5)
    other = replace(items["feature3"], feature="feature2")
    items["feature3"].directory.rename(other.directory)
    with pytest.raises(UserError, match="are of another feature than this run needs"):
        other.read()


def run(command: object, zoo: Path, data: Path, ckpt: str, *flags: str) -> tuple[Path, Record]:
    command(["--ckpt", ckpt, "--zoo", str(zoo), "--data", str(data), *SMALL, *flags])  # type: ignore[operator]
    path = max(zoo.glob("results/*/*/*.json"), key=lambda path: path.stat().st_mtime_ns)
    return path, read_record(path)


def test_figures_of_other_features_stand_in_tables_of_their_own(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    ckpt = "random:test_vit"
    _, plain = run(knn, tmp_path, tiny_imagenet, ckpt, "--k", "3")
    path, token = run(knn, tmp_path, tiny_imagenet, ckpt, "--k", "3", "--feature", "cls")
    assert (plain.settings["feature"], token.settings["feature"]) == ("avgpool", "cls")
    assert token.variant == "custom"
    assert CLS_NOTE in token.notes
    assert "--set feature=cls" in command_of(path, token, None, tmp_path / "again")
    assert CLS_NOTE not in plain.notes
    _, other = run(
        logreg,
        tmp_path,
        tiny_imagenet,
        ckpt,
        "--feature",
        "feature4",
        "--costs",
        "1",
        "--shots",
        "none",
        "--fraction",
        "none",
    )
    assert (other.variant, other.settings["feature"]) == ("custom", "feature4")
    assert {one.name.split("-")[1] for one in tmp_path.glob("features/*/*")} == {
        "avgpool",
        "cls",
        "feature4",
    }
    made = measured_tables(collect(tmp_path))
    tables = [one for one in made if one.kind.key == "imagenet-knn"]
    assert [len(one.table.rows) for one in tables] == [1, 1]
    notes = [" ".join(footnotes(one)) for one in tables]
    assert sum("feature cls instead of avgpool" in note for note in notes) == 1
    # A record of an earlier build does not say which feature it is of, and shares our table.
    settings = {name: value for name, value in plain.settings.items() if name != "feature"}
    assert measurement(msgspec.structs.replace(plain, settings=settings)) == measurement(plain)
    assert measurement(plain) != measurement(token)


@pytest.mark.parametrize("command", [knn, logreg])
def test_what_a_trunk_has_not_is_one_line(
    command: object, tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(feature: str, ckpt: str = "random:resnet18") -> str:
        words = ["--ckpt", ckpt, "--zoo", str(tmp_path), "--data", str(tiny_imagenet)]
        with pytest.raises(SystemExit) as ended:
            run_command(command, [*words, "--feature", feature])  # type: ignore[arg-type]
        assert ended.value.code == 2
        (found,) = capsys.readouterr().err.splitlines()
        return found

    assert line("cls") == "error: resnet18 has no class token: choose another --feature than cls"
    assert "resnet18 has no feature 'feature6': --feature is one of avgpool, feature1" in line(
        "feature6"
    )
    assert "has no feature 'feature1'" in line("feature1", "random:convnext_tiny")
    assert not (tmp_path / "features").exists()


def test_names_of_what_was_measured_before_there_was_a_choice() -> None:
    """Records and caches of average-pooled features are found where they always were."""
    keys = {one.name: key_of(one) for one in (IMAGENET_KNN, IMAGENET_LOGREG)}
    assert keys == {
        "knn_imagenet": "174294f0c76c14e5",
        "dinov2_logreg_imagenet": "03611ceee0214832",
    }
    assert key_of(replace(IMAGENET_KNN, feature="cls")) != keys["knn_imagenet"]
