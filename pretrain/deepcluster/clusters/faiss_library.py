"""faiss, told which matrix kernels this processor has.

Its wheel brings an OpenBLAS of 2021 (0.3.15), which takes kernels without AVX on processors that
came after it: k-means then takes several times as long. NumPy's OpenBLAS is newer and has looked
already; what it found is passed on, in the environment variable that OpenBLAS reads once, while it
is loaded. What a user has set there stands.
"""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np  # noqa: F401  # its OpenBLAS is asked

_VARIABLE = "OPENBLAS_CORETYPE"
# What NumPy's OpenBLAS calls a processor, and the best kernels for it that the older one has.
_KERNELS = {
    "Haswell": "Haswell",
    "Zen": "Zen",
    "SkylakeX": "SkylakeX",
    "Cooperlake": "SkylakeX",
    "SapphireRapids": "SkylakeX",
}


def kernels_for(architectures: Iterable[str]) -> str | None:
    """The kernels to ask for where OpenBLAS found these architectures; None leaves it to faiss."""
    known = [_KERNELS[name] for name in architectures if name in _KERNELS]
    return known[0] if known else None


def _load() -> Any:
    from threadpoolctl import threadpool_info

    found = [one["architecture"] for one in threadpool_info() if one["internal_api"] == "openblas"]
    kernels = kernels_for(found)
    told = kernels is not None and _VARIABLE not in os.environ
    if told:
        os.environ[_VARIABLE] = str(kernels)
    try:
        import faiss
    finally:
        if told:
            del os.environ[_VARIABLE]
    return faiss


faiss = _load()
