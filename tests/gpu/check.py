"""Whether all is right and fast on this machine's GPU: correctness against the CPU, and speeds.

python tests/gpu/check.py --json FILE     # six minutes at most; a table at the end
python tests/gpu/check.py --device cpu    # that the script itself runs, on small sizes

Each check is noted in FILE as soon as it is made. The exit code is 1 when one fails.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

Figures = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """Where it runs, and how large the timed work is."""

    device: str
    scratch: Path

    @property
    def gpu(self) -> bool:
        return self.device == "cuda"

    @property
    def arch(self) -> str:
        return "resnet50" if self.gpu else "test_resnet"

    @property
    def batch(self) -> int:
        return 256 if self.gpu else 8

    @property
    def side(self) -> int:
        return 224 if self.gpu else 64

    def command(self, *words: str, processes: int = 1, **options: Any) -> Any:
        """Run a command of this project; `subprocess.run`'s result."""
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        return subprocess.run(
            [sys.executable, *(launcher if processes > 1 else ()), "-m", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=150,
            **options,
        )

    def environment(self) -> dict[str, str]:
        found = os.environ.get("PYTHONPATH")
        return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep + found if found else ''}"}


def colours(machine: Machine) -> Iterator[Figures]:
    """Colours on the device and on the CPU: the share of values that differ, and by how much."""
    import numpy as np
    import torch

    from benchmarks.images.colour import Colour, Draws, Normalise

    colour = Colour(jitter=(0.4, 0.4, 1.0, 0.5), greyscale=0.2, lighting=0.1)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 64, 3), dtype=np.uint8)
    draws = Draws.none(48)
    torch.manual_seed(0)
    for row, order in enumerate([*permutations(range(4))] * 2):
        colour.draw(draws, row)
        draws.order[row] = torch.tensor(order)
    unit = [Normalise((0.0,) * 3, (1.0 / 255,) * 3)]
    there = colour.apply(torch.from_numpy(pixels).to(machine.device), draws, unit)[0].cpu()
    away = (there - colour.apply(torch.from_numpy(pixels), draws, unit)[0]).abs()
    share = float((away > 0.5).float().mean())
    yield {"share_of_values": share, "most_grey_levels": float(away.max())}
    assert share <= 1e-4, "more than one value in 10,000 differs"
    assert float(away.max()) <= 1.001, "a value differs by more than one grey level"


def probe_command(machine: Machine, zoo: str, device: str, *more: str) -> list[str]:
    words = ["benchmarks.linear_probe", "--ckpt", "random:resnet18", "--protocol"]
    words += ["digits_mhead_linear-3e_in1k", "--data", str(machine.scratch / "data" / "imagenet")]
    return [
        *words,
        "--zoo",
        str(machine.scratch / zoo),
        "--device",
        device,
        "--workers",
        "2",
        *more,
    ]


def heads(machine: Machine, zoo: str) -> dict[str, Any]:
    (record,) = (machine.scratch / zoo).glob("results/*/*/*.json")
    found: dict[str, Any] = json.loads(record.read_text())["heads"]
    return found


def probe(machine: Machine) -> Iterator[Figures]:
    """A probe in fp32 on both: points between their last figures."""
    for zoo, device in (("there", machine.device), ("cpu", "cpu")):
        done = machine.command(*probe_command(machine, zoo, device, "--precision", "fp32"))
        assert done.returncode == 0, done.stderr[-1000:]
    there, here = heads(machine, "there"), heads(machine, "cpu")
    apart = max(abs(there[tap]["top1"] - here[tap]["top1"]) for tap in here)
    yield {"most_points_apart": apart}
    assert apart <= 2.0


def stopped(machine: Machine) -> Iterator[Figures]:
    """A probe that is stopped and continues ends in the figures of one left alone."""
    command = probe_command(machine, "whole", machine.device)
    done = machine.command(*command)
    assert done.returncode == 0, done.stderr[-1000:]
    parts = probe_command(machine, "parts", machine.device)
    process = subprocess.Popen(
        [sys.executable, "-m", *parts], env=machine.environment(), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((machine.scratch / "parts").glob("state/*/*.pt")) and process.poll() is None:
        assert time.monotonic() < deadline, "no state was saved"
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGUSR2)
    code = process.wait(120)
    yield {"exit_code": code, "answered_s": time.monotonic() - began}
    assert code in (0, 75)
    again = machine.command(*parts)
    assert again.returncode == 0, again.stderr[-1000:]
    same = heads(machine, "parts") == heads(machine, "whole")
    yield {"same_figures": same}
    assert same


def svm(machine: Machine) -> Iterator[Figures]:
    """The SVM protocol on feature files on both: points between their APs, and chosen costs."""
    import numpy as np

    draws, folder = np.random.default_rng(0), machine.scratch / "features"
    folder.mkdir()
    for split, name, count in (("trainval", "train", 600), ("test", "test", 300)):
        labels = (draws.random((count, 20)) < 0.2).astype(np.int8)
        values = labels @ draws.normal(size=(20, 256)) + draws.normal(0, 4, (count, 256))
        np.save(folder / f"voc07_{split}_feat5.npy", values.astype(np.float32))
        np.save(folder / f"{name}_labels.npy", labels)
    found = []
    for device in (machine.device, "cpu"):
        output = machine.scratch / f"svm-{device}.json"
        flags = ["--features", str(folder), "--labels", str(folder), "--name", "files"]
        flags += ["--zoo", str(machine.scratch / f"svm-{device}"), "--json", str(output)]
        done = machine.command("benchmarks.voc_svm", *flags, "--device", device)
        assert done.returncode == 0, done.stderr[-1000:]
        found.append(json.loads(output.read_text())["layers"]["feature5"])
    apart = max(abs(a - b) for a, b in zip(found[0]["ap"], found[1]["ap"]))
    costs = sum(a != b for a, b in zip(found[0]["cost"], found[1]["cost"]))
    yield {"most_ap_points_apart": apart, "other_costs": costs}
    assert apart <= 0.5


def pretraining(machine: Machine) -> Iterator[Figures]:
    """Two epochs in fp32 on both, and the device's run killed and resumed."""
    tiny = [
        str(ROOT / "tests/pretrain/tiny.py"),
        "deepcluster",
        "--recipe",
        "tiny",
        "--name",
        "tiny",
    ]
    tiny += ["--data", str(machine.scratch / "data" / "imagenet"), "--workers", "2"]
    tiny += ["--epochs", "2", "--save-every", "0", "--resume", "--precision", "fp32"]

    def run(zoo: str, device: str) -> subprocess.Popen[bytes]:
        words = [*tiny, "--zoo", str(machine.scratch / zoo), "--device", device]
        return subprocess.Popen(
            [sys.executable, *words], env=machine.environment(), stderr=subprocess.DEVNULL
        )

    def card(zoo: str) -> dict[str, Any]:
        path = machine.scratch / zoo / "checkpoints/tiny/card.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    for zoo, device in (("dc-there", machine.device), ("dc-cpu", "cpu")):
        assert run(zoo, device).wait(150) == 0
    losses = [card(zoo)["pretraining"]["history"]["loss"] for zoo in ("dc-there", "dc-cpu")]
    yield {"first_loss_apart": abs(losses[0][0] - losses[1][0]) / losses[1][0]}
    assert abs(losses[0][0] - losses[1][0]) <= 0.1 * losses[1][0]
    process, state = run("dc-parts", machine.device), machine.scratch / "dc-parts/state/tiny"
    deadline = time.monotonic() + 100
    while not (state / "deepcluster.pt").exists() and process.poll() is None:
        assert time.monotonic() < deadline, "no state was saved"
        time.sleep(0.02)
    time.sleep(1)
    process.kill()
    process.wait()
    assert run("dc-parts", machine.device).wait(150) == 0
    same = card("dc-parts")["weights"] == card("dc-there")["weights"]
    yield {"same_weights_when_resumed": same}
    assert same


def two_on_one(machine: Machine) -> Iterator[Figures]:
    """Two processes on one GPU: one line that says so, and little around it."""
    if not machine.gpu:
        return
    done = machine.command(
        *probe_command(machine, "two", "cuda"),
        processes=2,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    yield {"exit_code": done.returncode, "error_lines": len(lines), "bytes": len(done.stderr)}
    assert done.returncode != 0
    assert len(lines) == 1
    assert "NCCL" not in done.stderr


def rate(images: int, work: Callable[[], object], device: str, seconds: float = 4.0) -> float:
    """Images a second of a piece of work, after it has been done a few times."""
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        work()
    wait()
    start, count = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        for _ in range(3):
            work()
        count += 3
        wait()
    return images * count / (time.monotonic() - start)


def step_speed(machine: Machine) -> Iterator[Figures]:
    """The multi-head step with its batch in memory, beside the bare forward pass."""
    import torch

    from benchmarks.backbones.backbone import build_backbone
    from benchmarks.checkpoints.zoo import resolve
    from benchmarks.images.colour import Colour, Draws
    from benchmarks.probes.frozen import FrozenTrunk
    from benchmarks.probes.training import Job, ProbeRun
    from benchmarks.results import Checkpoint
    from benchmarks.trunks import Trunk
    from slurm.distributed import World
    from tests.perf.stream import linear_protocols

    multi_head = linear_protocols()[0]
    device = torch.device(machine.device)
    bare = build_backbone(machine.arch, sobel=False).eval().to(device)
    bare = bare.to(memory_format=torch.channels_last)
    shape = (machine.batch, 3, machine.side, machine.side)
    images = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward() -> None:
        with torch.autocast(machine.device):
            bare(images)

    alone = rate(machine.batch, forward, machine.device)
    yield {"bare_forward_images_s": alone}
    card = resolve(machine.scratch, f"random:{machine.arch}", 0)
    trunk = Trunk(
        machine.scratch,
        f"random:{machine.arch}",
        Checkpoint(card.name, card.arch, card.weights, card.sobel),
        device=machine.device,
        precision="amp",
        mean=card.mean,
        std=card.std,
    )
    test = replace(multi_head.test, crop=machine.side)
    protocol = replace(multi_head, test=test, batch_size=machine.batch)
    frozen = FrozenTrunk(trunk, device)
    run = ProbeRun(Job(trunk, protocol, machine.scratch / "no", "step"), frozen, 1000, World())
    colour, draws = Colour.of(protocol.train), Draws.none(machine.batch)
    for row in range(machine.batch):
        colour.draw(draws, row)
    pixels = torch.randint(0, 256, (shape[0], shape[2], shape[3], 3), dtype=torch.uint8)
    pixels, labels = pixels.to(device), torch.randint(0, 1000, shape[:1], device=device)
    run.begin_epoch()

    def step() -> None:
        shown = colour.apply(pixels, draws, [frozen.normalise])[0]
        run.take(frozen.maps(shown), labels)

    ours = rate(machine.batch, step, machine.device)
    yield {"step_images_s": ours, "step_of_bare_forward": ours / alone}


def pretraining_speed(machine: Machine) -> Iterator[Figures]:
    """DeepCluster's step under AMP, with its batch in memory: plain and with --fast."""
    if not machine.gpu:
        return
    import numpy as np
    import torch

    from benchmarks.datasets.splits import ImageSplit
    from pretrain.deepcluster.recipes import SOBEL_RESNET50
    from pretrain.deepcluster.settings import Settings
    from pretrain.deepcluster.train import Run
    from slurm.distributed import World

    images = ImageSplit(machine.scratch, ("a",) * 512, np.zeros(512, dtype=np.int64), ())
    pixels = torch.randn(256, 3, 224, 224, device="cuda")
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 10_000, (256,), device="cuda")
    for fast in (False, True):
        state = machine.scratch / "no"
        settings = Settings("s", "s", state, state, "", "", 0, 0, "amp", fast, 300.0)
        run = Run(SOBEL_RESNET50, images, settings, World(), torch.device("cuda"))
        run.trained.train()
        speed = rate(256, lambda run=run: run._train_step(pixels, targets), "cuda")  # type: ignore[misc]
        yield {f"step_{'fast' if fast else 'plain'}_images_s": speed}


def loading_speed(machine: Machine) -> Iterator[Figures]:
    """The loader's images a second with all cores but one."""
    import numpy as np
    import torch

    from benchmarks.images.batches import Loader, Names, Source, requests_of
    from benchmarks.images.transforms import build_transform
    from tests.perf.stream import MEAN, STD, linear_protocols, write_images

    folder, count = machine.scratch / "jpegs", 512 if machine.gpu else 32
    write_images(folder, count)
    paths = [str(path.relative_to(folder)) for path in sorted(folder.glob("train/*/*.jpg"))]
    for name, protocol in zip(("multi_head", "avgpool"), linear_protocols()):
        transform = build_transform(protocol.train, MEAN, STD)
        source = Source(str(folder), Names(paths), transform.geometry, (transform.colour,), 0)
        workers = max(1, (os.cpu_count() or 2) - 1)
        loader = Loader([source], workers, torch.device(machine.device))
        rows = np.tile(np.arange(count), 24 if machine.gpu else 2)
        for requests in (requests_of(0, 0, rows[: 64 * workers], 16), requests_of(0, 0, rows, 64)):
            start = time.monotonic()
            for decoded in loader.batches(requests):
                decoded.pixels.to(machine.device, non_blocking=True)
        yield {f"{name}_images_s": len(rows) / (time.monotonic() - start), "workers": workers}


CHECKS = (
    colours,
    svm,
    probe,
    stopped,
    pretraining,
    two_on_one,
    step_speed,
    pretraining_speed,
    loading_speed,
)


def describe_machine(device: str) -> Figures:
    import torch

    card = torch.cuda.get_device_name(0) if device == "cuda" else "none"
    return {
        "gpu": card,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "cpu": platform.machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", choices=[one.__name__ for one in CHECKS], action="append")
    parser.add_argument("--json", type=Path, help="written as it goes")
    args = parser.parse_args()
    found: dict[str, Figures] = {"machine": describe_machine(args.device)}
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        machine = Machine(args.device, Path(scratch))
        data = str(machine.scratch / "data")
        machine.command("benchmarks.datasets.digits", data, check=True)
        for check in CHECKS:
            if args.only and check.__name__ not in args.only:
                continue
            figures = found.setdefault(check.__name__, {})
            start = time.monotonic()
            try:
                for part in check(machine):
                    figures |= part
            except Exception:
                traceback.print_exc()
                failed.append(check.__name__)
                figures["failed"] = traceback.format_exc(limit=1).splitlines()[-1][:300]
            figures["seconds"] = round(time.monotonic() - start, 1)
            if args.json:
                args.json.write_text(json.dumps(found, indent=1) + "\n")
    for name, figures in found.items():
        for key, value in figures.items():
            shown = f"{value:,.4g}" if isinstance(value, float) else value
            print(f"{name:>18}  {key:>26}  {shown}")
    print(f"failed: {', '.join(failed)}" if failed else "all is right")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
