"""Arrays that users give us: memory-mapped, never unpickled."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.input_files import is_there, open_file
from slurm.errors import UserError
from slurm.files import refuse_pointer

_MAGIC = b"\x93NUMPY"
_REMEDY = "write it again with numpy.save"


def open_array(path: Path) -> NDArray[Any]:
    """Memory-map a .npy file; `UserError` when it is missing, damaged or holds objects."""
    if not is_there(path):
        raise UserError(f"{path} is missing: name the folder that holds it")
    with open_file(path, _REMEDY) as file:
        start = file.read(64)
    refuse_pointer(path, start)
    if not start.startswith(_MAGIC):
        raise UserError(f"{path} is not a whole .npy array: {_other_content(start)}; {_REMEDY}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the header's text, and of sizes that overflow
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy's parser of headers raises whatever Python's does
        if "Python objects" in str(error) or "allow_pickle" in str(error):
            raise UserError(
                f"{path} is not a whole .npy array: pickled objects are not read; {_REMEDY}"
            ) from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is not a whole .npy array: {reason}; {_REMEDY}") from None
    # A shape whose product overflows would be mapped beyond the end of the file.
    if math.prod(array.shape) * array.itemsize > path.stat().st_size:
        raise UserError(f"{path} is not a whole .npy array: it is too short; {_REMEDY}")
    return array


def _other_content(start: bytes) -> str:
    """What a file that does not begin like an array seems to be, from its first bytes."""
    if not start:
        return "the file is empty"
    if start.startswith(b"PK\x03\x04"):
        return "it is an archive, such as .npz or .pth"
    if start.startswith(b"\x80") and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "it is a pickle, and pickled objects are not read"
    if start.startswith(b"\x89HDF"):
        return "it is an HDF5 file"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return f"it is text, {start[:40].decode('ascii')!r}"
    return f"it begins with {start[:8]!r}"
