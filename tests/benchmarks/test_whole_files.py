"""Tensors and arrays: read again as they were, and a write that fails says why."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.whole_files import write_array, write_tensors

# The kernel writes up to the limit and then refuses, as it does on a disk that fills up.
LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy, torch
from benchmarks.whole_files import write_array, write_tensors

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    {call}
except OSError as error:
    sys.exit(error.errno)
"""


def test_tensors_and_arrays_are_read_again(tmp_path: Path) -> None:
    content = {"epoch": 3, "history": [{"feature1": (1.5, 2.5)}], "heads": {"a": torch.arange(5)}}
    write_tensors(tmp_path / "zoo" / "state.pt", content)
    found = torch.load(tmp_path / "zoo" / "state.pt", weights_only=True)
    assert torch.equal(found["heads"].pop("a"), content["heads"].pop("a"))  # type: ignore[attr-defined]
    assert found == content
    labels = np.array([[1, 0, -1], [0, 1, 0]], dtype=np.int8)
    write_array(tmp_path / "zoo" / "labels.npy", labels)
    again = np.load(tmp_path / "zoo" / "labels.npy", allow_pickle=False)
    assert again.dtype == labels.dtype
    assert np.array_equal(again, labels)


@pytest.mark.parametrize(
    "call",
    [
        "write_tensors(Path('state.pt'), {'a': torch.zeros(300_000)})",
        "write_array(Path('labels.npy'), numpy.zeros(300_000, numpy.int8))",
    ],
)
def test_a_write_that_fails_says_why_and_leaves_nothing(tmp_path: Path, call: str) -> None:
    script = LIMITED.format(call=call)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == errno.EFBIG, done.stderr
    assert list(tmp_path.iterdir()) == []
