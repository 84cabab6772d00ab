"""Images that the tests of pretraining share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for tiny.py, which is also run as a script

from tiny import write_images


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageNet-layout folder of 90 small images."""
    return write_images(tmp_path_factory.mktemp("tiny-data"))
