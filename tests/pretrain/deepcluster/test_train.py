"""The loop itself, in this process: labels, loss, classifier, intervals, and what is registered."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import TINY, tiny_item
from torch import Tensor

from benchmarks.checkpoints.cards import card_path, read_card
from benchmarks.images.decoding import Encoded
from benchmarks.registry import load_backbone
from pretrain.deepcluster import state, train
from pretrain.deepcluster.clusters import feature_file
from pretrain.deepcluster.clusters.agreement import nmi
from pretrain.deepcluster.model import DeepClusterNet, reset_head
from pretrain.deepcluster.recipes import Recipe
from pretrain.deepcluster.sampling import draw_uniform
from slurm.errors import UserError, user_error
from tests.benchmarks.voc_data import fill_disk


class Spy:
    """What the loss was given, step by step, and the clustering in use meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.epochs: list[int] = []
        self.targets: list[NDArray[np.int64]] = []
        self.scores: list[Tensor] = []
        self.labels: dict[int, NDArray[np.int64]] = {}
        self.heads: dict[int, tuple[Tensor, Tensor]] = {}  # at the start of each epoch
        self.bias_steps: list[Tensor] = []  # change of the head's bias by each step
        step = train.Run._train_step

        def spy(run: train.Run, pixels: Tensor, targets: Tensor) -> None:
            assert run.labels is not None
            self.epochs.append(run.epoch)
            self.targets.append(targets.numpy().copy())
            self.labels[run.epoch] = run.labels.copy()
            head = run.net.head
            if run.step == 0:
                self.heads[run.epoch] = (head.weight.detach().clone(), head.bias.detach().clone())
            before = head.bias.detach().clone()
            hook = head.register_forward_hook(
                lambda module, inputs, scores: self.scores.append(scores.detach().clone())
            )
            step(run, pixels, targets)
            hook.remove()
            self.bias_steps.append(head.bias.detach() - before)

        monkeypatch.setattr(train.Run, "_train_step", spy)

    def targets_of(self, epoch: int) -> NDArray[np.int64]:
        return np.concatenate([t for e, t in zip(self.epochs, self.targets) if e == epoch])


def test_labels_are_fresh_in_every_epoch_with_workers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that outlive an epoch must not go on serving its labels."""
    spy = Spy(monkeypatch)
    tiny_item(tmp_path, data, workers=2).run()
    for epoch in range(3):
        labels = spy.labels[epoch]
        draws = draw_uniform(labels, seed=0, epoch=epoch)
        assert np.array_equal(spy.targets_of(epoch)[: len(draws)], labels[draws])
    stale = spy.labels[0][draw_uniform(spy.labels[2], seed=0, epoch=2)]
    assert (spy.targets_of(2)[: len(stale)] != stale).mean() > 0.2  # the first would show


def test_workers_do_not_change_the_result(data: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, epochs=1)
    weights = set()
    for workers in (0, 2):
        item = tiny_item(tmp_path / str(workers), data, recipe, workers=workers)
        item.run()
        weights.add(read_card(item.zoo, "tiny").weights)
    assert len(weights) == 1


def test_loss_is_the_plain_mean_and_so_is_its_gradient(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is divided by the number of clusters."""
    spy = Spy(monkeypatch)
    recipe = replace(TINY, epochs=1, weight_decay=0.0)
    item = tiny_item(tmp_path, data, recipe)
    item.run()
    losses = []
    for scores, targets, change in zip(spy.scores, spy.targets, spy.bias_steps, strict=True):
        values = scores.double().numpy()
        chances = np.exp(values) / np.exp(values).sum(1, keepdims=True)
        losses.append(-np.log(chances[np.arange(len(targets)), targets]).mean())
        gradient = (chances - np.eye(8)[targets]).mean(0)
        # Without momentum each step of the classifier is the learning rate times the gradient.
        np.testing.assert_allclose(change.numpy(), -0.05 * gradient, atol=1e-6)
    history = read_card(item.zoo, "tiny").pretraining["history"]
    assert isinstance(history, dict)
    assert history["loss"] == [pytest.approx(np.mean(losses), rel=1e-5)]
    assert losses[0] == pytest.approx(math.log(8), rel=0.1)


def test_a_reweighted_loss_is_the_mean_of_the_weighted_losses(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    recipe = replace(TINY, epochs=1, weight_decay=0.0, reweight=True)
    item = tiny_item(tmp_path, data, recipe)
    item.run()
    sizes = np.bincount(spy.labels[0], minlength=8)
    weights = 1 / np.sqrt(sizes)
    weights /= weights.mean()
    assert np.ptp(weights) > 0.3  # else it could not show
    losses = []
    for scores, targets, change in zip(spy.scores, spy.targets, spy.bias_steps, strict=True):
        values = scores.double().numpy()
        chances = np.exp(values) / np.exp(values).sum(1, keepdims=True)
        own = weights[targets]
        losses.append((own * -np.log(chances[np.arange(len(targets)), targets])).mean())
        gradient = (own[:, None] * (chances - np.eye(8)[targets])).mean(0)
        np.testing.assert_allclose(change.numpy(), -0.05 * gradient, atol=1e-6)
    history = read_card(item.zoo, "tiny").pretraining["history"]
    assert isinstance(history, dict)
    assert history["loss"] == [pytest.approx(np.mean(losses), rel=1e-5)]


def test_features_are_kept_as_they_are_told_to_be(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And rounding them to fp16 moves few images to another cluster."""
    read, kinds, labels = feature_file.read, [], []
    monkeypatch.setattr(
        feature_file, "read", lambda path: kinds.append(np.load(path).dtype) or read(path)
    )
    spy = Spy(monkeypatch)
    for features in ("fp32", "fp16"):
        item = tiny_item(tmp_path / features, data, replace(TINY, epochs=1, features=features))
        item.run()
        labels.append(spy.labels[0])
    assert kinds == [np.float32, np.float16]
    assert nmi(*labels) > 0.9


def test_fast_decoding_is_of_both_transforms_and_its_own_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images of the test are PNG files, of which both decoders give the same pixels."""
    seen: list[Path] = []
    tensor = Encoded.tensor
    monkeypatch.setattr(
        Encoded, "tensor", lambda file, rows=None: seen.append(file.path) or tensor(file, rows)
    )
    identities = []
    for decode in ("pil", "fast"):
        item = tiny_item(tmp_path / decode, data, replace(TINY, epochs=1, decode=decode))
        item.run()
        identities.append(read_card(item.zoo, "tiny").pretraining["identity"])
        assert bool(seen) is (decode == "fast")
    assert len(set(seen)) == 90
    assert len(seen) == 90 + 6 * TINY.batch_size  # for the features, and for the steps
    assert identities[0] != identities[1]


def test_features_beyond_fp16_end_in_one_line_and_leave_no_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = DeepClusterNet.features
    monkeypatch.setattr(DeepClusterNet, "features", lambda net, pixels: features(net, pixels) * 1e9)
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1, features="fp16"))
    with pytest.raises(UserError, match=r"too large for fp16, .*--features fp32"):
        item.run()
    assert not list(tmp_path.rglob("*features*"))


@pytest.mark.parametrize("changes", [{"algorithm": "pic", "clusters": 40}, {"balance": True}])
def test_other_clusterings_train_as_well(
    data: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, epochs=2, **changes))
    item.run()
    card = read_card(item.zoo, "tiny")
    history = card.pretraining["history"]
    assert isinstance(history, dict)
    if "balance" in changes:
        assert history["smallest"] == [11, 11]
        assert history["largest"] == [12, 12]
    else:
        assert history["kmeans_objective"] == [None, None]
        assert all(0 < empty < 40 for empty in history["empty"])


def test_classifier_is_forgotten_at_each_clustering(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    tiny_item(tmp_path, data, replace(TINY, epochs=2)).run()
    for weight, bias in spy.heads.values():
        assert not bias.any()
        assert weight.std() == pytest.approx(0.01, rel=0.1)
    assert not torch.equal(spy.heads[0][0], spy.heads[1][0])


def test_reset_head_depends_on_seed_and_epoch_alone() -> None:
    net = DeepClusterNet(TINY, seed=0)
    seen = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0)):
        torch.rand(3)  # the global generator plays no part
        reset_head(net.head, seed=seed, epoch=epoch)
        seen.append(net.head.weight.detach().clone())
    assert torch.equal(seen[0], seen[3])
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_interval_keeps_labels_and_classifier_and_still_samples_uniformly(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    tiny_item(tmp_path, data, replace(TINY, interval=2, epochs=3)).run()
    assert np.array_equal(spy.labels[0], spy.labels[1])
    assert spy.heads[1][1].any()  # the classifier goes on
    assert not spy.heads[2][1].any()
    counts = np.bincount(spy.labels[1], minlength=8)
    filled = int((counts > 0).sum())
    assert counts.max() > 1.5 * counts[counts > 0].min()  # else sampling could not show
    for epoch in (0, 1, 2):
        drawn = np.bincount(spy.targets_of(epoch)[:90], minlength=8)
        assert drawn.max() <= 90 // filled + 1
    assert not np.array_equal(spy.targets_of(0), spy.targets_of(1))  # but drawn anew


def test_only_the_classifier_has_no_momentum(data: Path, tmp_path: Path) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1), keep=1)
    item.run()
    saved = state.load_state(item.state, item.identity)
    assert saved is not None
    groups = saved["optimizer"]["param_groups"]
    assert [group["momentum"] for group in groups] == [0.9, 0.0]
    assert [len(group["params"]) for group in groups][1] == 2
    assert all(group["weight_decay"] == 1e-5 for group in groups)


def test_learning_rate_drops_after_milestones(data: Path, tmp_path: Path) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, milestones=(1, 2)))
    item.run()
    history = read_card(item.zoo, "tiny").pretraining["history"]
    assert isinstance(history, dict)
    assert history["learning_rate"] == pytest.approx([0.05, 0.005, 0.0005])


def test_registered_backbone_card_and_log(data: Path, tmp_path: Path) -> None:
    item = tiny_item(tmp_path, data, keep=1)
    assert not item.done()
    item.run()
    assert item.done()
    backbone, card = load_backbone(tmp_path, "tiny")
    assert (card.arch, card.sobel, card.method) == ("test_resnet", True, "deepcluster")
    saved = state.load_state(item.state, item.identity)
    assert saved is not None
    for name, tensor in backbone.trunk.state_dict().items():
        assert torch.equal(tensor, saved["net"][f"backbone.trunk.{name}"])
    history = card.pretraining["history"]
    assert isinstance(history, dict)
    assert {len(values) for values in history.values()} == {3}
    assert history["nmi_previous"][0] is None
    assert all(0 <= value <= 1 for value in history["nmi_previous"][1:] + history["nmi_labels"])
    assert history["empty"] == [0, 0, 0]
    lines = [json.loads(line) for line in item.log.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["loss"] for line in lines] == history["loss"]
    assert not list(item.state.parent.glob("features*"))  # the large file is gone


def test_images_without_labels(data: Path, tmp_path: Path) -> None:
    item = tiny_item(tmp_path, data / "train", replace(TINY, epochs=2))
    assert item.images.classes == 0
    item.run()
    history = read_card(item.zoo, "tiny").pretraining["history"]
    assert isinstance(history, dict)
    assert history["nmi_labels"] == [None, None]


def test_more_epochs_continue_a_finished_run(data: Path, tmp_path: Path) -> None:
    long = tiny_item(tmp_path / "long", data)
    long.run()
    tiny_item(tmp_path / "short", data, replace(TINY, epochs=2)).run()
    continued = tiny_item(tmp_path / "short", data)
    assert not continued.done()
    continued.run()
    assert read_card(long.zoo, "tiny") == read_card(continued.zoo, "tiny")


def test_dropout_is_drawn_alike_after_a_resume(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithDropout(DeepClusterNet):
        def __init__(self, recipe: Recipe, *, seed: int) -> None:
            super().__init__(recipe, seed=seed)
            self.activation = torch.nn.Dropout(0.5)

    monkeypatch.setattr(train, "DeepClusterNet", WithDropout)
    two = replace(TINY, epochs=2)
    whole = tiny_item(tmp_path / "whole", data, two)
    whole.run()
    tiny_item(tmp_path / "parts", data, replace(TINY, epochs=1)).run()
    torch.manual_seed(1234)  # wherever torch's own generator stands in the new process
    parts = tiny_item(tmp_path / "parts", data, two)
    parts.run()
    assert read_card(whole.zoo, "tiny") == read_card(parts.zoo, "tiny")


def test_diverging_run_ends_in_one_line_and_keeps_the_last_good_state(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_item(tmp_path, data, replace(TINY, epochs=1), keep=1).run()
    item = tiny_item(tmp_path, data)
    good = state.load_state(item.state, item.identity)
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda scores, targets: (scores * math.nan).sum()
    )
    with pytest.raises(UserError, match=r"loss is nan in epoch 2.*diverged"):
        item.run()
    kept = state.load_state(item.state, item.identity)
    assert good is not None
    assert kept is not None
    assert (kept["epoch"], kept["step"], kept["clustered_at"]) == (1, 0, 1)  # clustered since
    assert torch.isfinite(kept["net"].pop("head.weight")).all()
    del kept["net"]["head.bias"], good["net"]["head.weight"], good["net"]["head.bias"]
    torch.testing.assert_close(kept["net"], good["net"], rtol=0, atol=0)


def test_images_that_were_changed_after_planning_are_not_trained_on(
    data: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(data, images)
    item = tiny_item(tmp_path, images)
    shutil.move(images / "train/class0/000.png", images / "train/class1/000.png")
    with pytest.raises(UserError, match="were changed after this run was planned"):
        item.run()
    assert not item.state.exists()


@pytest.mark.parametrize("step", [0, 2])
def test_fewer_epochs_than_were_trained_register_nothing(
    data: Path, tmp_path: Path, step: int
) -> None:
    long = tiny_item(tmp_path, data, replace(TINY, epochs=2), keep=1)
    long.run()
    saved = state.load_state(long.state, long.identity)
    assert saved is not None
    saved["epoch"], saved["step"] = (1, step) if step else (2, 0)
    saved["history"] = {name: values[: saved["epoch"]] for name, values in saved["history"].items()}
    state.save_state(long.state, saved)
    card_path(tmp_path, "tiny").unlink()
    with pytest.raises(UserError, match=rf"epochs and {step} steps, more than the 1 epochs asked"):
        tiny_item(tmp_path, data, replace(TINY, epochs=1)).run()
    assert not card_path(tmp_path, "tiny").exists()
    long.run()
    assert long.done()


def test_a_full_disk_while_saving_is_the_users_to_mend_and_keeps_the_last_state(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1), keep=1)
    item.run()
    saved = state.load_state(item.state, item.identity)
    assert saved is not None
    fill_disk(monkeypatch, item.state)
    with pytest.raises(OSError, match="No space left") as caught:
        state.save_state(item.state, saved)
    assert "no room left" in str(user_error(caught.value))
    kept = item.state.with_name("deepcluster.epoch-0001.pt")
    assert sorted(item.state.parent.iterdir()) == sorted([item.state, kept])


def test_a_state_of_the_former_format_continues_with_its_nmi_named_what_it_is(
    data: Path, tmp_path: Path
) -> None:
    item = tiny_item(tmp_path, data, replace(TINY, epochs=1), keep=1)
    item.run()
    saved = state.load_state(item.state, item.identity)
    assert saved is not None
    arithmetic = saved["history"]["nmi_labels"]
    for table in (saved["history"], saved["figures"]):
        del table["nmi_labels_arithmetic"], table["nmi_previous_arithmetic"]
    state.save_state(item.state, saved | {"format": 1})  # type: ignore[arg-type]
    longer = tiny_item(tmp_path, data, replace(TINY, epochs=2))
    longer.run()
    history = read_card(tmp_path, "tiny").pretraining["history"]
    assert isinstance(history, dict)
    assert history["nmi_labels"][0] is None
    assert history["nmi_labels_arithmetic"][0] == arithmetic[0]
    assert history["nmi_labels"][1] >= history["nmi_labels_arithmetic"][1]
    assert all(len(values) == 2 for values in history.values())
