"""Real processes: killed, stopped politely, started twice, and two at a time under torchrun."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from benchmarks.checkpoints.cards import read_card
from tests import processes

TINY = Path(__file__).parent.parent / "tiny.py"
FLAGS = ["deepcluster", "--recipe", "tiny", "--name", "tiny", "--device", "cpu", "--workers", "0"]


def command(data: Path, zoo: Path, *more: str) -> list[str]:
    return [str(TINY), *FLAGS, "--data", str(data), "--zoo", str(zoo), *more]


def run(data: Path, zoo: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    return processes.run(*command(data, zoo, *more), timeout=600)


def start(data: Path, zoo: Path, *more: str) -> processes.Running:
    return processes.start(*command(data, zoo, *more))


def position(zoo: Path) -> tuple[int, int]:
    """(epoch, step) of the state file; (-1, 0) while there is none."""
    path = zoo / "state" / "tiny" / "deepcluster.pt"
    if not path.exists():
        return (-1, 0)
    state = torch.load(path, weights_only=True)
    return (state["epoch"], state["step"])


def signal_at(process: processes.Running, zoo: Path, epoch: int, number: int) -> None:
    """Send `number` once the state stands inside `epoch` (from 0) or a later one."""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and process.poll() is None:
        reached, step = position(zoo)
        if reached >= epoch and step >= 1:
            os.kill(process.pid, number)
            return
        time.sleep(0.02)  # reading the state takes what the run would
    process.kill()
    raise AssertionError(f"the run was never seen inside epoch {epoch}")


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    zoo = tmp_path_factory.mktemp("uninterrupted")
    done = run(data, zoo)
    assert done.returncode == 0, done.stderr
    return zoo


def assert_same_result(zoo: Path, reference: Path) -> None:
    for file in ("weights.safetensors", "card.json"):
        path = Path("checkpoints") / "tiny" / file
        assert (zoo / path).read_bytes() == (reference / path).read_bytes(), file


def test_killed_and_stopped_again_and_again_ends_in_the_same_bits(
    data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    process = start(data, tmp_path, "--save-every", "0")
    signal_at(process, tmp_path, 0, signal.SIGKILL)
    assert process.wait(300) == -signal.SIGKILL
    assert position(tmp_path)[1] > 0  # killed between the steps of an epoch

    for epoch, number in ((1, signal.SIGUSR2), (2, signal.SIGTERM)):
        process = start(data, tmp_path, "--resume", "--save-every", "0")
        signal_at(process, tmp_path, epoch, number)
        _, message = process.communicate(timeout=300)
        assert process.returncode == 75, message
        assert "continues at epoch" in message
        last = message.splitlines()[-1]
        assert last.startswith(f"stopped: tiny/deepcluster: by {number.name}, saved at ")
        assert last.endswith("; run the same command again with --resume to go on")

    # Once more, at a random moment: during start-up, extraction, a step, a save or registering.
    process = start(data, tmp_path, "--resume")
    time.sleep(random.Random(time.time()).uniform(0, 3))
    process.kill()
    process.wait(300)

    done = run(data, tmp_path, "--resume")
    assert done.returncode == 0, done.stderr
    for file in ("weights.safetensors", "card.json"):
        path = Path("checkpoints") / "tiny" / file
        assert (tmp_path / path).read_bytes() == (uninterrupted / path).read_bytes(), file
    log = (tmp_path / "logs" / "tiny" / "deepcluster.jsonl").read_text().splitlines()
    assert len(log) == 3  # no epoch twice


def copy_with(data: Path, folder: Path, row: int) -> tuple[Path, Path]:
    """A copy of the images, and the one in it that is to be damaged."""
    images = Path(shutil.copytree(data, folder / "images"))
    return images, sorted(images.glob("train/*/*.png"))[row]


def run_two(folder: Path, images: Path, program: str = "") -> "subprocess.CompletedProcess[str]":
    """The command in two processes, each of which runs `program` first; it must fail."""
    first = folder / "program.py"
    first.write_text(
        f"{program}\nimport runpy\nrunpy.run_path({str(TINY)!r}, run_name='__main__')\n"
    )
    words = command(images, folder / "zoo")[1:]
    done = processes.run(str(first), *words, processes=2, timeout=200)
    assert done.returncode != 0
    assert "Connection closed" not in done.stderr
    assert "dist.barrier" not in done.stderr
    return done


def ends_of(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """The last lines of one process, or of both."""
    found = [x for x in done.stderr.splitlines() if x.startswith(("error:", "stopped:"))]
    assert found
    return found


@pytest.mark.parametrize("row", [0, -1])  # of the images of the first process, and of the second
def test_a_damaged_image_ends_all_processes_in_lines(data: Path, tmp_path: Path, row: int) -> None:
    """And in none of an error of the connection to the process that met it."""
    images, damaged = copy_with(data, tmp_path, row)
    damaged.write_bytes(damaged.read_bytes()[:80])
    for line in ends_of(run_two(tmp_path, images)):
        assert line.startswith("error:")
        assert f"{damaged.name} is damaged or not an image" in line
    assert not list((tmp_path / "zoo").rglob("features.*"))


# The first and the last image of the second process, by which the first one has been stopped.
@pytest.mark.parametrize(("row", "end"), [(45, "error:"), (-1, "stopped:")])
def test_a_stop_of_one_process_does_not_hide_the_damage_another_met(
    data: Path, tmp_path: Path, row: int, end: str
) -> None:
    """While features are extracted, from which none leaves before the others."""
    images, damaged = copy_with(data, tmp_path, row)
    damaged.write_bytes(damaged.read_bytes()[:80])
    program = """
import os
from pretrain.deepcluster import extract
extract.stop_requested = lambda: os.environ["RANK"] == "0"
"""
    for line in ends_of(run_two(tmp_path, images, program)):
        assert line.startswith(end)
        assert (damaged.name in line) == (end == "error:")
    assert not list((tmp_path / "zoo").rglob("features.*"))


def test_an_image_damaged_while_training_ends_all_processes_in_lines(
    data: Path, tmp_path: Path
) -> None:
    """After its features were extracted: between the steps of an epoch that all take together."""
    images, damaged = copy_with(data, tmp_path, -1)
    program = f"""
from pathlib import Path
from pretrain.deepcluster import train
cluster = train.cluster_images
def damage_afterwards(*words, **more):
    found = cluster(*words, **more)
    Path({str(damaged)!r}).write_bytes(b"cut")
    return found
train.cluster_images = damage_afterwards
"""
    for line in ends_of(run_two(tmp_path, images, program)):
        assert line.startswith("error:")
        assert f"{damaged.name} is damaged or not an image" in line
    assert position(tmp_path / "zoo") == (0, 0)  # the clustering, and no step of black images


def test_two_processes_agree_with_one(data: Path, tmp_path: Path, uninterrupted: Path) -> None:
    done = processes.run(*command(data, tmp_path, "--resume"), processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("tiny: epoch 3/3") == 1  # one of them speaks
    two, one = (read_card(zoo, "tiny").pretraining for zoo in (tmp_path, uninterrupted))
    assert (two["processes"], one["processes"]) == (2, 1)
    history, reference = two["history"], one["history"]
    assert isinstance(history, dict)
    assert isinstance(reference, dict)
    # The first clustering sees the same random network, in stripes: the same clusters.
    for name in ("smallest", "median", "largest", "empty", "nmi_labels"):
        assert history[name][0] == reference[name][0], name
    assert history["kmeans_objective"][0] == pytest.approx(reference["kmeans_objective"][0], 1e-4)
    # Then batches are the same images, but BatchNorm's statistics are of half of each.
    assert history["loss"][0] == pytest.approx(reference["loss"][0], rel=0.1)
