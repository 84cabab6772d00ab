"""faiss multiplies with the kernels that NumPy's OpenBLAS found, and a user's choice stands."""

import json
import os
import subprocess
import sys

import pytest

from pretrain.deepcluster.clusters.faiss_library import kernels_for

LOAD = """
import json, os
from pretrain.deepcluster.clusters.faiss_library import faiss
from threadpoolctl import threadpool_info
kernels = {}
for one in threadpool_info():
    if one["internal_api"] == "openblas":
        kernels["faiss" if "faiss" in one["filepath"] else "others"] = one["architecture"]
print(json.dumps([kernels, os.environ.get("OPENBLAS_CORETYPE"), faiss.Kmeans.__name__]))
"""


def loaded(choice: str | None) -> tuple[dict[str, str], str | None]:
    """The kernels of faiss and of the others in a new process, and the variable afterwards."""
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    if choice is not None:
        env["OPENBLAS_CORETYPE"] = choice
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=env, capture_output=True, text=True, check=True
    )
    kernels, variable, name = json.loads(done.stdout)
    assert name == "Kmeans"
    if "faiss" not in kernels:
        pytest.skip("this build of faiss has no OpenBLAS")
    return kernels, variable


def test_faiss_takes_what_numpy_found() -> None:
    kernels, variable = loaded(None)
    if kernels_for([kernels["others"]]) is None:
        pytest.skip(f"faiss's OpenBLAS is told nothing about {kernels['others']}")
    assert kernels["faiss"] == kernels_for([kernels["others"]])
    assert variable is None


def test_a_users_choice_stands() -> None:
    kernels, variable = loaded("Nehalem")  # without AVX: no processor chooses it by itself
    assert kernels["faiss"] == "Nehalem"
    assert variable == "Nehalem"


@pytest.mark.parametrize(
    ("found", "kernels"),
    [
        (["SapphireRapids"], "SkylakeX"),
        (["Zen"], "Zen"),
        (["unheard-of", "Haswell"], "Haswell"),
        (["neoversen1"], None),
        ([], None),
    ],
)
def test_kernels_that_the_older_openblas_has(found: list[str], kernels: str | None) -> None:
    assert kernels_for(found) == kernels
