"""An image that cannot be read, where several processes step together: one line, and no trace."""

import shutil
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.datasets.loading import load_dataset
from benchmarks.probes import stream
from benchmarks.probes.item import Probe, probe_item
from benchmarks.probes.training import order_of
from benchmarks.rehearsal.probes import probe_row
from slurm.errors import UserError
from tests import processes
from tests.benchmarks.probes.ranks import PROTOCOL
from tests.benchmarks.voc_data import make_trunk

# Saves whenever that is safe, so that black images would be seen in what comes later.
PROGRAM = """
import sys
from pathlib import Path
from benchmarks.probes import stream
from slurm.errors import UserError
from tests.benchmarks.probes.test_mistakes import item_of
stream.SAVE_SECONDS = 0.0
try:
    item_of(Path(sys.argv[1]), Path(sys.argv[2])).run()
except UserError as mistake:
    sys.stdout.write(f"{mistake}\\n")
"""


def item_of(zoo: Path, data: Path) -> Probe:
    return probe_item(make_trunk(zoo, "random:resnet18"), data, PROTOCOL)


@pytest.fixture
def damaged(tmp_path: Path, tiny_imagenet: Path) -> Path:
    return Path(shutil.copytree(tiny_imagenet, tmp_path / "images"))


@pytest.mark.parametrize(("split", "number"), [("train", 5), ("train", -1), ("val", -1)])
def test_all_processes_say_the_same_line_and_nothing_is_lost(
    tmp_path: Path, tiny_imagenet: Path, damaged: Path, split: str, number: int
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    words = (tmp_path / "program.py", tmp_path / "zoo", damaged)
    image = sorted((damaged / split).rglob("*.*"))[number]
    content = image.read_bytes()
    image.write_bytes(b"\xff\xd8 no picture")
    done = processes.run(*words, processes=2, timeout=200)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{image} is damaged or not an image") for line in lines)
    assert "Traceback" not in done.stderr

    image.write_bytes(content)
    done = processes.run(*words, processes=2, timeout=200)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    words = (tmp_path / "program.py", tmp_path / "whole", damaged)
    assert processes.run(*words, processes=2, timeout=200).returncode == 0
    records = [
        results.read(item_of(tmp_path / zoo, damaged).result, results.ProbeRecord)
        for zoo in ("zoo", "whole")
    ]
    assert records[0].heads == records[1].heads


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_process_alone_keeps_what_it_had(
    tmp_path: Path, damaged: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SAVE_SECONDS", 0.0)
    image = sorted((damaged / split).rglob("*.*"))[-1]
    content = image.read_bytes()
    image.write_bytes(content[:100] + bytes(len(content) - 100))
    item = item_of(tmp_path / "zoo", damaged)
    with pytest.raises(UserError, match=f"{image.name} is damaged"):
        item.run()
    assert item.state.exists() or split == "train"
    image.write_bytes(content)
    item.run()
    whole = item_of(tmp_path / "whole", damaged)
    whole.run()
    records = [results.read(x.result, results.ProbeRecord) for x in (item, whole)]
    assert records[0].heads == records[1].heads


def test_a_rehearsal_says_it_too(tmp_path: Path, damaged: Path) -> None:
    """Also of an image in the last piece that is measured, whose speed would be of black ones."""
    item = item_of(tmp_path / "zoo", damaged)
    split = load_dataset(PROTOCOL.dataset, damaged).splits["train"]
    images = len(split.paths)
    # Not among those that the loader is measured by alone, which are the first of epoch 0.
    before = order_of(item.trunk.seed, 0, images, 1)[: images // 4].tolist()
    row = next(row for row in order_of(item.trunk.seed, 1, images, 1) if row not in before)
    image = Path(split.root) / split.paths[row]
    image.write_bytes(bytes(image.stat().st_size))
    with pytest.raises(UserError, match=f"{image.name} is damaged"):
        probe_row([item], limited=False, seconds=0.02, folder=tmp_path)
