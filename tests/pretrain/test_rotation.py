"""Rotation prediction: turns, rates, learning, resuming in the same bits, and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD, read_card
from benchmarks.datasets import imagenet
from benchmarks.images.batches import load_batches
from benchmarks.images.transforms import build_transform
from benchmarks.protocols import ImageTransform
from benchmarks.registry import load_backbone
from pretrain import rotation, rotation_training
from pretrain.__main__ import main
from pretrain.images import read_images
from pretrain.rotation import Rotation
from pretrain.rotation_recipes import RECIPES, Recipe
from pretrain.rotation_training import RotationNet, epoch_line, in_four_turns, learning_rate
from slurm.cli import Parser, add_common_flags, run_command
from slurm.errors import UserError
from slurm.stop import Stopped
from tests import processes

ROOT = Path(__file__).parents[2]
TINY = Recipe(
    name="tiny-rotation",
    arch="test_resnet",
    train=ImageTransform(crop=32, resize=36, random_crop=36),
    epochs=2,
    batch_size=16,
    learning_rate=0.02,
)
ONE = replace(TINY, epochs=1)


def item_of(zoo: Path, data: Path, recipe: Recipe = TINY, **fields: Any) -> Rotation:
    images = read_images(data).fingerprint()
    return Rotation(zoo, "turned", recipe, data, images, device="cpu", **fields)


def history_of(item: Rotation) -> dict[str, list[float]]:
    history = read_card(item.zoo, item.name).pretraining["history"]
    assert isinstance(history, dict)
    return history


def test_turns_are_quarters_and_each_image_is_seen_in_all_four() -> None:
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    turned, turns = in_four_turns(images)
    assert turns.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for row, number in enumerate(turns.tolist()):
        expected = np.rot90(images[row % 2].numpy(), number, axes=(1, 2))
        assert np.array_equal(turned[row].numpy(), expected)


def test_the_rate_warms_up_and_drops() -> None:
    recipe = RECIPES["rotation_resnet50_8xb16-steplr-70e"]
    rates = [learning_rate(recipe, step, 10) for step in range(700)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[25] == pytest.approx(0.2 * (1 - 0.5 * 0.9))
    assert rates[50:300] == pytest.approx([0.2] * 250)
    assert rates[300:500] == pytest.approx([0.02] * 200)
    assert rates[500:] == pytest.approx([0.002] * 200)


def test_a_warm_up_can_be_left_out(data: Path, tmp_path: Path) -> None:
    parser = Parser(prog="x", description="x")
    rotation.add_flags(parser)
    add_common_flags(parser)
    words = ["--warmup-epochs", "0", "--data", str(data), "--name", "x", "--zoo", str(tmp_path)]
    recipe = rotation.make_item(parser.parse_args(words)).recipe
    assert recipe.warmup_epochs == 0
    assert learning_rate(recipe, 0, 10) == recipe.learning_rate


def test_the_published_numbers() -> None:
    """OpenSelfSup's rotation_pred/r50.py."""
    recipe = RECIPES[rotation.recipe_names()[0]]
    assert (recipe.arch, recipe.epochs, recipe.batch_size) == ("resnet50", 70, 128)
    assert (recipe.momentum, recipe.weight_decay) == (0.9, 1e-4)
    assert recipe.train == ImageTransform(crop=224, random_resized_crop=True, flip=True)
    assert all(name == recipe.name for name, recipe in RECIPES.items())


def test_an_epoch_is_that_of_a_plain_loop(data: Path, tmp_path: Path) -> None:
    item = item_of(tmp_path, data, replace(TINY, epochs=1, batch_size=15))
    item.run()
    net = RotationNet(TINY, 0)
    images = imagenet.load(data).splits["train"]
    order = np.random.default_rng([0, 0]).permutation(90)
    transform = build_transform(TINY.train, IMAGENET_MEAN, IMAGENET_STD)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    losses, right = [], 0
    for pixels, _ in load_batches(images, transform, order, batch_size=15, seed=0, epoch=0):
        views = [np.rot90(pixels.numpy(), turns, axes=(2, 3)).copy() for turns in range(4)]
        scores = net(torch.from_numpy(np.concatenate(views))).reshape(4, 15, 4)
        chances = scores.log_softmax(2)
        loss = -sum(chances[turns, :, turns].sum() for turns in range(4)) / 60
        right += sum(int((scores[turns].argmax(1) == turns).sum()) for turns in range(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert history_of(item)["loss"] == [pytest.approx(np.mean(losses), rel=1e-5)]
    assert history_of(item)["top1"] == [pytest.approx(100 * right / 360)]
    backbone, card = load_backbone(tmp_path, "turned")
    assert (card.method, card.sobel) == ("rotation", False)
    for name, tensor in backbone.trunk.state_dict().items():
        torch.testing.assert_close(tensor, net.backbone.trunk.state_dict()[name])


def test_repeats_in_a_batch_are_cropped_on_their_own(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fewer images than a batch: each is there more than once, the first time as ever."""
    seen: list[torch.Tensor] = []

    def looked_at(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(images)
        return in_four_turns(images)

    monkeypatch.setattr(rotation_training, "in_four_turns", looked_at)
    recipe = replace(TINY, epochs=1, batch_size=200)
    item_of(tmp_path, data, recipe).run()
    (pixels,) = seen
    images = imagenet.load(data).splits["train"]
    order = np.random.default_rng([0, 0]).permutation(90)
    transform = build_transform(TINY.train, IMAGENET_MEAN, IMAGENET_STD)
    ((first, _),) = load_batches(images, transform, order, batch_size=90, seed=0, epoch=0)
    assert torch.equal(pixels[:90], first)
    assert len({image.numpy().tobytes() for image in pixels}) > 180  # by chance some are alike


def test_turns_are_learnt(data: Path, tmp_path: Path) -> None:
    """Of images that say which way is up: bright above, dark below."""
    item = item_of(tmp_path, upright(tmp_path / "upright"), replace(TINY, epochs=6))
    item.run()
    history = history_of(item)
    assert history["loss"][-1] < history["loss"][0] - 0.5
    assert history["top1"][-1] > 80


def upright(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(48):
        shade = np.linspace(220, 30, 36)[:, None, None] + rng.normal(size=(36, 36, 3)) * 20
        Image.fromarray(shade.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def test_a_stopped_run_ends_in_the_bits_of_one_that_was_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = item_of(tmp_path / "whole", data)
    whole.run()
    parts = item_of(tmp_path / "parts", data, save_seconds=0)
    for steps in (3, 5):  # within the first epoch, within the second
        seen = 0

        def asked(limit: int = steps) -> bool:
            nonlocal seen
            seen += 1
            return seen > limit

        with monkeypatch.context() as patch:
            patch.setattr(rotation_training, "stop_requested", asked)
            with pytest.raises(Stopped, match=r"saved at epoch \d/2, after \d step"):
                parts.run()
        assert not parts.done()
    torch.manual_seed(99)
    parts.run()
    assert parts.done()
    assert read_card(whole.zoo, "turned") == read_card(parts.zoo, "turned")
    assert len(parts.log.read_text().splitlines()) == 2


def test_more_epochs_go_on_and_fewer_are_refused(data: Path, tmp_path: Path) -> None:
    item_of(tmp_path / "a", data, ONE, keep=1).run()
    longer = item_of(tmp_path / "a", data, keep=1)
    assert not longer.done()
    longer.run()
    whole = item_of(tmp_path / "b", data)
    whole.run()
    assert read_card(longer.zoo, "turned") == read_card(whole.zoo, "turned")
    with pytest.raises(UserError, match="stands after 2 epochs"):
        item_of(tmp_path / "a", data, ONE).run()
    assert longer.state.exists()  # which went further than the one asked for
    replace(longer, keep=0).forget_state()
    assert not longer.state.exists()


def test_what_was_registered_meanwhile_is_not_replaced(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, other = item_of(tmp_path, data, ONE), item_of(tmp_path, data, ONE, seed=1)
    train = rotation_training.Training.train

    def train_and_wait(run: rotation_training.Training) -> None:
        train(run)
        with monkeypatch.context() as patch:
            patch.setattr(rotation_training.Training, "train", train)
            replace(other, zoo=tmp_path / "other").run()
            shutil.copytree(tmp_path / "other/checkpoints", tmp_path / "checkpoints")

    monkeypatch.setattr(rotation_training.Training, "train", train_and_wait)
    with pytest.raises(UserError, match="turned"):
        late.run()
    assert other.done()
    assert late.state.exists()


def test_what_was_made_since_it_was_planned_is_not_made_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = item_of(tmp_path, data, ONE)
    item.run()
    monkeypatch.setattr(rotation_training.Training, "train", None)
    item.run()


def test_a_checkpoint_of_another_method_is_said_to_be_one(data: Path, tmp_path: Path) -> None:
    item_of(tmp_path, data, ONE).run()
    item = item_of(tmp_path, data, ONE)
    card = read_card(tmp_path, "turned")
    assert item.unlike(msgspec.structs.replace(card, method="deepcluster")) == "another method"
    assert replace(item, seed=1).unlike(card) == "another run (seed 0, not 1)"
    longer = msgspec.structs.replace(card, pretraining={**card.pretraining, "epochs": 3})
    assert item.unlike(longer) == "more than 1 epochs"


def test_time_is_that_of_the_whole_run_and_what_is_left_is_said() -> None:
    history = {"loss": [1.4, 1.3, 1.2], "top1": [25.0, 30.0, 35.0], "seconds": [60.0, 60.0, 60.0]}
    line = epoch_line(history, 5)
    assert line == (
        "epoch 3/5 | loss 1.2000 | 35.0 % of turns told | 1 min 00 s, "
        "3 min 00 s so far, 2 min 00 s left"
    )
    older = history | {"seconds": [None, None, 60.0]}  # of a state that did not say
    assert epoch_line(older, 5).endswith("1 min 00 s so far, 2 min 00 s left")


def test_a_resumed_epoch_counts_what_was_before(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item_of(tmp_path, data, ONE, keep=1).run()
    longer = item_of(tmp_path, data, keep=1)
    content = torch.load(longer.state, weights_only=True)
    content["seconds"], content["history"]["seconds"] = 3600.0, [7200.0]
    torch.save(content, longer.state)
    longer.run()
    line = capsys.readouterr().err.splitlines()[-1]
    assert "| 1 h 00 min, 3 h 00 min in all" in line
    content.pop("seconds")
    content["history"].pop("seconds")
    torch.save(content, longer.state)  # as older states are
    shutil.rmtree(longer.result.parent)
    longer.run()
    assert longer.done()


def test_two_processes_share_a_batch(data: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from tests.pretrain.test_rotation import ONE, item_of
item_of(Path(sys.argv[1]), Path(sys.argv[2]), ONE).run()
"""
    (tmp_path / "program.py").write_text(program)
    done = processes.run(tmp_path / "program.py", tmp_path, data, processes=2)
    assert done.returncode == 0, done.stderr
    alone = item_of(tmp_path / "alone", data, ONE)
    alone.run()
    two, one = (read_card(zoo, "turned").pretraining for zoo in (tmp_path, alone.zoo))
    assert (two["processes"], one["processes"]) == (2, 1)
    # The same images; BatchNorm's statistics are of half of each batch.
    assert two["history"]["loss"] == pytest.approx(one["history"]["loss"], rel=0.15)  # type: ignore[index]


def test_a_damaged_image_of_one_process_is_the_line_of_both(data: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from slurm.errors import UserError
from tests.pretrain.test_rotation import TINY, item_of
item = item_of(Path(sys.argv[1]), Path(sys.argv[2]))
try:
    item.run()
except UserError as mistake:
    sys.stdout.write(f"{mistake}; {item.state.exists()}\\n")
"""
    (tmp_path / "program.py").write_text(program)
    images = Path(shutil.copytree(data, tmp_path / "images"))
    image = sorted(images.glob("train/*/*.*"))[-1]
    image.write_bytes(image.read_bytes()[:80])
    done = processes.run(tmp_path / "program.py", tmp_path, images, processes=2, timeout=200)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    # Within the first epoch, of which nothing is saved that black images were part of.
    assert all(f"{image.name} is damaged or not an image" in line for line in lines)
    assert all(line.endswith("; False") for line in lines)


def refusal(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        run_command(main, words)
    assert exit_.value.code == 2
    last = capsys.readouterr().err.rstrip("\n").splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_the_command_registers_and_refuses_in_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, TINY.name, ONE)
    given = ["rotation", "--recipe", TINY.name, "--name", "turned", "--data", str(data)]
    given += ["--zoo", str(tmp_path), "--device", "cpu", "--workers", "0"]
    main([*given, "--momentum", "0.8", "--keep", "1"])
    card = read_card(tmp_path, "turned")
    assert card.notes == ("recipe tiny-rotation with momentum 0.8 instead of 0.9",)
    main([*given, "--momentum", "0.8", "--keep", "1"])
    assert "registered already" in capsys.readouterr().err
    assert "is of another run (recipe.momentum 0.8, not 0.9); choose" in refusal(capsys, given)
    assert "pass --resume" in refusal(capsys, [*given, "--momentum", "0.8", "--epochs", "2"])
    assert "--momentum x: needs a number" in refusal(capsys, [*given, "--momentum", "x"])
    assert "did you mean" in refusal(capsys, [*given, "--arch", "resnet51"])
    other = [*given[:3], "--name", "other", *given[5:]]
    line = refusal(capsys, [*other, "--learning-rate", "1e30"])
    assert "the loss is not finite in epoch 1: training has diverged" in line
    state = tmp_path / "state/turned/rotation.pt"
    content = torch.load(state, weights_only=True)
    torch.save(content | {"identity": content["identity"].replace("0.8", "0.7")}, state)
    again = [*given, "--momentum", "0.8", "--epochs", "2", "--resume"]
    assert "is of another run (recipe.momentum 0.7, not 0.8)" in refusal(capsys, again)
    for damage in ({"net": {}}, {"epoch": "x"}, {"optimizer": {}}, {"history": 3}):
        torch.save(content | damage, state)
        assert "rotation.pt is damaged (" in refusal(capsys, again)
    state.write_bytes(b"")
    line = refusal(capsys, again)
    assert "rotation.pt cannot be continued from" in line
    assert "the file has 0 bytes): remove it to begin anew, or choose another --name" in line
    state.unlink()
    assert "registered after 1 epochs, and its state was removed" in refusal(capsys, again)


def test_images_are_checked_when_asked(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for the benchmarks and DeepCluster, whose check of the same images it is."""
    mine = shutil.copytree(data, tmp_path / "data")
    path = mine / "train/class1/001.png"
    content = bytearray(path.read_bytes())
    end = content.index(b"IEND") - 4
    content[end - 1] ^= 1  # in the checksum of the pixels
    path.write_bytes(content)
    item = item_of(tmp_path / "zoo", mine, ONE, check_images=True)
    (check,) = item.needs
    check.run()
    item.run()
    (note,) = read_card(tmp_path / "zoo", "turned").notes
    assert note.startswith("pretraining: 1 of 90 images of train may be damaged within")
    path.write_bytes(b"Not found")
    other = ["rotation", "--name", "other", "--data", str(mine), "--zoo", str(tmp_path / "new")]
    line = refusal(capsys, [*other, "--device", "cpu", "--workers", "0", "--check-images"])
    assert "1 of 90 images of train cannot be used" in line
