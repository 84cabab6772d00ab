"""Arrays that users give us: memory-mapped, never unpickled."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slurm.errors import UserError


def open_array(path: Path) -> NDArray[Any]:
    """Memory-map a .npy file; `UserError` when it is missing, damaged or holds objects."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, EOFError, SyntaxError) as error:
        pickled = "allow_pickle" in str(error) or "Python objects" in str(error)
        reason = "pickled objects are not read" if pickled else str(error)
        raise UserError(f"{path} is not a whole .npy array: {reason}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path} is an archive, not one .npy array")
    return array
