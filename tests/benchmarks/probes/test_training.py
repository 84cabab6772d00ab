"""The probe's training loop, against a plain reference loop and against itself when interrupted."""

import json
import math
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import results
from benchmarks.backbones.pooling import pool
from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.records import read_record
from benchmarks.checkpoints.cards import IMAGENET_MEAN, IMAGENET_STD
from benchmarks.datasets import imagenet
from benchmarks.images.decoding import open_image
from benchmarks.images.transforms import build_transform
from benchmarks.outcomes.files import read_outcomes
from benchmarks.probes import frozen, stream, training
from benchmarks.probes.item import Probe, probe_item
from benchmarks.probes.together import run_jobs
from benchmarks.protocols import ImageTransform, LinearProtocol
from benchmarks.registry import load_backbone
from benchmarks.trunks import Trunk, load_trunk
from slurm.cli import STOPPED
from slurm.distributed import World
from slurm.errors import UserError
from slurm.stop import Stopped
from slurm.sweep import all_items, describe
from tests import processes
from tests.benchmarks.voc_data import make_trunk

PLAIN = ImageTransform(crop=32, resize=32)
SHIFT = ImageTransform(crop=32, resize=36, random_crop=36, flip=True)
PROTOCOL = replace(
    IMAGENET_LINEAR,
    name="test_mhead",
    train=PLAIN,
    test=PLAIN,
    epochs=4,
    milestones=(2, 3),
    batch_size=20,
    pooled_size=512,
)


def make_item(
    zoo: Path, data: Path, protocol: LinearProtocol = PROTOCOL, workers: int = 0
) -> Probe:
    return probe_item(make_trunk(zoo, "random:resnet18", seed=3, workers=workers), data, protocol)


def read(item: Probe) -> results.ProbeRecord:
    record = read_record(item.result)
    assert isinstance(record, results.ProbeRecord)
    return record


def figures(item: Probe) -> dict[str, tuple[float, ...]]:
    return {tap: head.top1_by_epoch for tap, head in read(item).heads.items()}


def reference_top1(data: Path, protocol: LinearProtocol, tap: str) -> list[float]:
    """One head trained alone on stored features, in the plainest torch."""
    backbone, _ = load_backbone(Path("unused"), "random:resnet18", 3)
    dataset = imagenet.load(data)
    transform = build_transform(PLAIN, IMAGENET_MEAN, IMAGENET_STD)
    features, labels = {}, {}
    for split, images in dataset.splits.items():
        pixels = torch.stack([transform(open_image(images.root / path)) for path in images.paths])
        with torch.no_grad():
            features[split] = pool(backbone(pixels), protocol.pooled_size)[tap]
        labels[split] = torch.from_numpy(images.labels.astype(np.int64))
    width, channels = features["train"].shape[1], {t.name: t.channels for t in backbone.taps}[tap]
    norm, linear = nn.BatchNorm1d(channels, affine=False), nn.Linear(width, 3)
    draws = torch.Generator().manual_seed(3)
    for t in backbone.taps:  # the heads are drawn one after the other
        weight = torch.empty(3, pool(backbone(pixels[:1]), protocol.pooled_size)[t.name].shape[1])
        weight.normal_(0, 0.01, generator=draws)
        if t.name == tap:
            linear.weight.data.copy_(weight)
    linear.bias.data.zero_()
    optimizer = torch.optim.SGD(
        linear.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(protocol.milestones), 0.1)
    found = []
    for epoch in range(protocol.epochs):
        norm.train()
        order = np.random.default_rng([3, epoch]).permutation(len(labels["train"]))
        for start in range(0, len(order), protocol.batch_size):
            batch = order[start : start + protocol.batch_size]
            maps = norm(features["train"][batch].view(len(batch), channels, -1)).flatten(1)
            loss = nn.functional.cross_entropy(linear(maps), labels["train"][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        norm.eval()
        maps = norm(features["val"].view(len(labels["val"]), channels, -1)).flatten(1)
        correct = (linear(maps).argmax(1) == labels["val"]).double().mean().item()
        found.append(100 * correct)
    return found


def test_the_figures_are_those_of_a_plain_training_loop(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    item = make_item(tmp_path, tiny_imagenet)
    item.run()
    assert set(figures(item)) == {f"feature{number}" for number in range(1, 6)}
    for tap in ("feature1", "feature4"):
        expected = reference_top1(tiny_imagenet, PROTOCOL, tap)
        assert figures(item)[tap] == pytest.approx(expected, abs=1e-9)


def test_the_record_reports_the_last_epoch_and_the_best_beside_it(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    item = make_item(tmp_path, tiny_imagenet)
    item.run()
    record = read(item)
    assert record.settings["learning_rate"] == 0.01
    assert record.data["train"].images == 48
    assert record.data["val"].images == 18
    for head in record.heads.values():
        assert len(head.top1_by_epoch) == record.epochs == 4
        assert head.top1 == head.top1_by_epoch[-1]
        assert head.best_top1 == max(head.top1_by_epoch) == head.top1_by_epoch[head.best_epoch - 1]
        assert head.top5 == 100.0  # three classes
    assert not item.state.exists()


def test_trunk_and_its_statistics_stay_untouched(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def remember(trunk: Trunk) -> object:
        loaded.append(load_trunk(trunk))
        return loaded[-1]

    monkeypatch.setattr(frozen, "load_trunk", remember)
    make_item(tmp_path, tiny_imagenet).run()
    fresh, _ = load_backbone(tmp_path, "random:resnet18", 3)
    trained = loaded[0].state_dict()
    assert trained.keys() == fresh.state_dict().keys()
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, trained[name]), name


@pytest.mark.parametrize("stop_at", [1, 3, 7])
def test_a_stopped_run_continues_bit_for_bit(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    protocol = replace(PROTOCOL, train=SHIFT)
    whole = make_item(tmp_path / "whole", tiny_imagenet, protocol)
    whole.run()
    item = make_item(tmp_path / "parts", tiny_imagenet, protocol)
    steps = iter(range(1000))
    monkeypatch.setattr(stream, "stop_requested", lambda: next(steps) == stop_at)
    with pytest.raises(Stopped, match="saved at epoch"):
        item.run()
    assert item.state.exists()
    assert not item.done()
    monkeypatch.setattr(stream, "stop_requested", lambda: False)
    item.run()
    assert figures(item) == figures(whole)
    assert read(item).outcomes == read(whole).outcomes is not None


def test_workers_do_not_change_the_figures(tmp_path: Path, tiny_imagenet: Path) -> None:
    protocol = replace(PROTOCOL, train=SHIFT, epochs=2, milestones=(1,))
    alone = make_item(tmp_path / "0", tiny_imagenet, protocol)
    helped = make_item(tmp_path / "2", tiny_imagenet, protocol, workers=2)
    alone.run()
    helped.run()
    assert figures(alone) == figures(helped)


def test_avgpool_head_reads_the_mean_of_the_last_map(tmp_path: Path, tiny_imagenet: Path) -> None:
    protocol = replace(
        IMAGENET_AVGPOOL, name="test_avgpool", train=PLAIN, test=PLAIN, epochs=3, milestones=(2,),
        batch_size=20,
    )  # fmt: skip
    item = make_item(tmp_path, tiny_imagenet, protocol)
    item.run()
    assert list(figures(item)) == ["avgpool"]


def test_a_batch_that_processes_cannot_share_is_one_clear_line(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    item = make_item(tmp_path, tiny_imagenet)
    world, cpu = World(rank=0, size=3), torch.device("cpu")
    job = training.Job(item.trunk, PROTOCOL, item.state, item.key)
    dataset = imagenet.load(tiny_imagenet)
    with pytest.raises(UserError, match="3 processes cannot share"):
        run_jobs([job], dataset, item.key, world, cpu, lambda run: None, limited=False)


def test_a_truncated_image_stops_the_run_and_leaves_no_record(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_imagenet, data)
    broken = data / "train" / "n02" / "3.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    for workers in (0, 2):
        item = make_item(tmp_path / "zoo", data, workers=workers)
        with pytest.raises(UserError, match=r"n02/3\.jpg"):
            item.run()
        assert not item.done()


def test_a_process_may_have_no_validation_image(tmp_path: Path, tiny_imagenet: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_imagenet, data)
    listed = data / "meta/val.txt"
    listed.write_text(listed.read_text().splitlines()[0] + "\n")
    flags = ["--ckpt", "random:resnet18", "--protocol", "digits_mhead_linear-2e_in1k"]
    flags += ["--data", str(data), "--device", "cpu", "--workers", "0", "--lr", "0.03"]
    output = tmp_path / "probe.json"
    zoo = ["--zoo", str(tmp_path / "zoo"), "--json", str(output)]
    done = processes.run("-m", "benchmarks.linear_probe", *flags, *zoo, processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(output.read_text())
    assert record["data"]["val"]["images"] == 1
    (path,) = (tmp_path / "zoo").glob("results/*/*/*.json")
    seen = read_outcomes(path, record["outcomes"], read_record(path).data["val"])
    for tap, head in record["heads"].items():
        assert head["top1"] == 100.0 * (seen[f"{tap}.rank"] == 0).sum()
        assert record["grid"][1]["heads"][tap]["top1"] in (0.0, 100.0)


def test_two_processes_reach_the_figures_of_one(tmp_path: Path, tiny_imagenet: Path) -> None:
    """Same batches and statistics; only the order of floating-point sums differs."""
    flags = ["--ckpt", "random:resnet18", "--protocol", "digits_mhead_linear-2e_in1k"]
    flags += ["--data", str(tiny_imagenet), "--device", "cpu", "--workers", "0", "--lr", "0.03"]
    found = []
    for count in (1, 2):
        output = tmp_path / f"{count}.json"
        zoo = ["--zoo", str(tmp_path / str(count)), "--json", str(output)]
        done = processes.run("-m", "benchmarks.linear_probe", *flags, *zoo, processes=count)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(json.loads(output.read_text()))
    one, two = found
    assert "2 processes" in two["notes"]
    for tap in one["heads"]:
        # 18 validation images: one more or less is 5.6 points.
        assert two["heads"][tap]["top1"] == pytest.approx(one["heads"][tap]["top1"], abs=5.6)
        further = [record["grid"][1]["heads"][tap]["top1"] for record in found]
        assert further[0] == pytest.approx(further[1], abs=5.6)
    path = next((tmp_path / "2").glob("results/*/*/*.json"))
    seen = read_outcomes(path, two["outcomes"], read_record(path).data["val"])
    for tap, head in two["heads"].items():
        assert 100 * (seen[f"{tap}.rank"] == 0).mean() == pytest.approx(head["top1"])
        # In the order of the list, whichever process graded an image.
        labels = np.repeat([0, 1, 2], 6)
        assert ((seen[f"{tap}.rank"] == 0) == (seen[f"{tap}.predicted"] == labels)).all()


def test_a_killed_process_continues_bit_for_bit(tmp_path: Path, tiny_imagenet: Path) -> None:
    flags = ["--ckpt", "random:resnet18", "--protocol", "digits_mhead_linear-2e_in1k"]
    flags += ["--data", str(tiny_imagenet), "--device", "cpu", "--workers", "0", "--threads", "1"]
    command = ["-m", "benchmarks.linear_probe", *flags]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert processes.run(*command, "--zoo", whole).returncode == 0
    process = processes.start(*command, "--zoo", parts)
    deadline = time.monotonic() + 120
    while not list(parts.glob("state/*/*.pt")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished_early = list(parts.glob("results/*/*/*.json"))
    done = processes.run(*command, "--zoo", parts)
    assert done.returncode == 0, done.stderr
    assert finished_early or "continues at epoch" in done.stderr
    heads = [
        json.loads(next(zoo.glob("results/*/*/*.json")).read_text())["heads"]
        for zoo in (whole, parts)
    ]
    assert heads[0] == heads[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_all_processes_saves_and_stops(
    tmp_path: Path, tiny_imagenet: Path, number: signal.Signals
) -> None:
    """A scheduler signals the workers that decode images too; they must not die first."""
    flags = ["--ckpt", "random:resnet18", "--protocol", "digits_linear-4e_in1k"]
    flags += ["--data", str(tiny_imagenet), "--device", "cpu", "--workers", "1", "--threads", "1"]
    command = ["-m", "benchmarks.linear_probe", *flags, "--zoo", str(tmp_path)]
    with processes.start(*command, session=True) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("state/*/*.pt")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=120)
    if process.returncode == 0:  # it was in its last steps
        assert list(tmp_path.glob("results/*/*/*.json"))
    else:
        assert process.returncode == STOPPED
        assert "saved at epoch" in errors
        assert "Traceback" not in errors


def test_the_learning_rate_falls_at_the_milestones() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    found = []
    for epoch in range(90):
        training._set_learning_rate(optimizer, IMAGENET_LINEAR, epoch)
        found.append(optimizer.param_groups[0]["lr"])
    rates = [0.01] * 30 + [0.001] * 30 + [0.0001] * 30
    assert all(math.isclose(a, b) for a, b in zip(found, rates))


def test_two_checkpoint_files_of_one_name_are_two_items(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    items = []
    for seed in (1, 2):
        file = tmp_path / str(seed) / "latest.pth"
        file.parent.mkdir()
        torch.save(load_backbone(tmp_path, "random:resnet18", seed)[0].trunk.state_dict(), file)
        items.append(probe_item(make_trunk(tmp_path, str(file)), tiny_imagenet, PROTOCOL))
    assert items[0].trunk.checkpoint.name == items[1].trunk.checkpoint.name == "latest"
    assert len(all_items(items)) == 2
    assert "0 of 2 results are done\nprobe: 2 to run" in describe(items)


def test_results_of_other_images_of_the_same_names_are_not_taken(
    tmp_path: Path, tiny_imagenet: Path
) -> None:
    blurred = tmp_path / "blurred"
    shutil.copytree(tiny_imagenet, blurred)
    for path in blurred.rglob("*.jpg"):
        Image.open(path).convert("L").save(path)
    clean, other = make_item(tmp_path, tiny_imagenet), make_item(tmp_path, blurred)
    assert clean.splits[0].sha256 == other.splits[0].sha256
    assert clean.result != other.result
    assert clean.state != other.state


@pytest.mark.parametrize("change", ["weights", "images"])
def test_what_was_changed_after_planning_is_not_measured(
    tmp_path: Path, tiny_imagenet: Path, change: str
) -> None:
    data, file = tmp_path / "data", tmp_path / "latest.pth"
    shutil.copytree(tiny_imagenet, data)
    torch.save(load_backbone(tmp_path, "random:resnet18", 1)[0].trunk.state_dict(), file)
    item = probe_item(make_trunk(tmp_path, str(file)), data, PROTOCOL)
    if change == "weights":
        torch.save(load_backbone(tmp_path, "random:resnet18", 2)[0].trunk.state_dict(), file)
    else:
        for path in data.rglob("*.jpg"):
            Image.open(path).convert("L").save(path)
    with pytest.raises(UserError, match="after this run was planned"):
        item.run()
    assert not item.result.exists()
    assert not item.state.exists()
