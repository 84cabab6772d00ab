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
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.gpu import speeds  # noqa: E402
from tests.gpu.machine import Figures, Machine  # noqa: E402


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
    words += ["digits_mhead_linear-2e_in1k", "--data", str(machine.scratch / "data" / "imagenet")]
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


CHECKS = (
    colours,
    svm,
    probe,
    stopped,
    pretraining,
    two_on_one,
    speeds.step_speed,
    speeds.pretraining_speed,
    speeds.loading_speed,
    speeds.svm_speed,
    speeds.clustering_speed,
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
