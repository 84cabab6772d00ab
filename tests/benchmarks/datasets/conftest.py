"""The embedded digits, written once, and small hand-made folders."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four embedded datasets below one folder."""
    folder = tmp_path_factory.mktemp("digits")
    command = [sys.executable, "-m", "benchmarks.datasets.digits", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture
def touch_images(tmp_path: Path) -> Callable[..., None]:
    """A function that writes tiny images at paths relative to `tmp_path`."""

    def touch(*paths: str) -> None:
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (9, 90, 200)).save(tmp_path / path)

    return touch


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """A function that writes a text file at a path relative to `tmp_path`."""

    def write_text(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write_text
