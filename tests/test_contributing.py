"""The examples of CONTRIBUTING.md, run as they stand there, on a copy of the packages."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from tests import processes
from tests.conftest import write_image_folders

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("slurm", "benchmarks", "pretrain", "reports")
BLOCK = re.compile(r"^```(python|diff|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(heading: str) -> Iterator[tuple[str, str]]:
    """Language and content of the code blocks below a heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return ((match[1], match[2]) for match in BLOCK.finditer(section))


def add_lines(file: Path, diff: str) -> None:
    """Insert each run of + lines behind the line that stands before it in the diff.

    A run at the top of the diff stands before the first of its other lines.
    """
    text = file.read_text()
    top = place = ""
    for line in diff.splitlines():
        whole = f"{line[1:]}\n"
        if not line.startswith("+"):
            assert text.count(whole) == 1, f"{file}: {whole!r} stands {text.count(whole)} times"
            text = text.replace(whole, f"{top}{whole}")
            top, place = "", whole
        elif place:
            text = text.replace(place, f"{place}{whole}")
            place += whole
        else:
            top += whole
    assert not top, f"{file}: the diff says not where its lines stand"
    file.write_text(text)


class Copy:
    """The four packages in a folder, where examples change them, and images beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, folder / package, ignore=ignored)

    def follow(self, heading: str) -> None:
        """Do what the section says."""
        for language, content in blocks(heading):
            if language == "sh":
                for line in content.splitlines():
                    self.run(line)
                continue
            first, _, rest = content.partition("\n")
            file = self.folder / first.removeprefix("# ")
            if language == "diff":
                add_lines(file, rest)
            else:
                assert not file.exists()
                file.write_text(rest)

    def lint(self) -> None:
        """As `make lint` of a project in which the examples were followed, and its architecture."""
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        for check in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *check, "--no-cache", *PACKAGES]
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        (self.folder / "tests").mkdir()
        shutil.copy(ROOT / "tests/test_architecture.py", self.folder / "tests")
        chosen = "place or arrows or circle or small or empty"
        done = processes.run(
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", chosen),
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stdout

    def run(self, line: str) -> None:
        words = line.split()
        assert words[0] == "python"
        done = processes.run(*words[1:], cwd=self.folder)
        assert done.returncode == 0, done.stderr
        self.output = done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_dataset_a_benchmark_and_a_method(copy: Copy) -> None:
    write_image_folders(copy.folder / "data/flowers", train=16, val=6)
    copy.follow("A dataset")
    copy.follow("A benchmark")
    zoo = (copy.folder / "zoo/README.md").read_text()
    assert "#### Flowers Linear Evaluation" in zoo
    assert re.search(r"\| random-resnet18 +(\| [0-9]+\.[0-9]{2} +){5}\|", zoo)
    copy.run("python -m reports --format model-index")
    assert "name: Flowers\n" in copy.output
    copy.follow("A pretraining method")
    (record,) = copy.folder.glob("zoo/results/turned/flowers_linear/*.json")
    assert len(json.loads(record.read_text())["heads"]) == 5
    card = json.loads((copy.folder / "zoo/checkpoints/turned/card.json").read_text())
    assert card["method"] == "rotation"
    copy.lint()


def test_a_checkpoint_layout(copy: Copy) -> None:
    first, second = (timm.create_model("resnet10t").state_dict() for _ in range(2))
    student = {f"net.{name}": tensor for name, tensor in first.items()}
    teacher = {f"net.{name}": tensor for name, tensor in second.items()}
    torch.save({"acme": {"student": student, "teacher": teacher}}, copy.folder / "acme.pth")
    diff = next(content for language, content in blocks("A checkpoint layout"))
    add_lines(copy.folder / "benchmarks/checkpoints/formats.py", diff.partition("\n")[2])
    copy.lint()
    copy.run("python -m benchmarks.registry add acme.pth --name acme --arch resnet10t")
    card = json.loads((copy.folder / "zoo/checkpoints/acme/card.json").read_text())
    assert card["format"] == "acme"
    weights = load_file(copy.folder / "zoo/checkpoints/acme/weights.safetensors")
    assert torch.equal(weights["conv1.0.weight"], second["conv1.0.weight"])
