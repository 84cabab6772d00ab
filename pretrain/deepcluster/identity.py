"""Which run a state or a checkpoint is of: all that decides what an epoch does to the weights."""

from dataclasses import asdict
from typing import Any

import msgspec

from benchmarks.results import Split
from pretrain.deepcluster.recipes import ADDED, Recipe

_FREE = ("epochs", "config")  # fields of a recipe that do not decide it
_MISSING = object()


def identity_of(
    recipe: Recipe, images: Split, seed: int, precision: str = "", *, fast: bool = False
) -> str:
    """JSON of the recipe, the seed, the images, and how it is computed.

    What came later is left out at the value that runs had without it: they can go on.
    """
    numbers = {key: value for key, value in asdict(recipe).items() if key not in _FREE}
    content = {
        "recipe": {
            key: value for key, value in numbers.items() if ADDED.get(key, _MISSING) != value
        },
        "seed": seed,
        "images": images.sha256,
        "sizes": images.sizes,
        "amp": precision == "amp",
        **({"precision": precision} if precision == "fp32" else {}),
        **({"fast": True} if fast else {}),
    }
    return msgspec.json.encode(content, order="deterministic").decode()


def differences(found: str, wanted: str) -> str:
    """What differs between two identities: `seed 0, not 1; recipe.pca 64, not 32`.

    `found` is of a file, and may be anything.
    """
    try:
        left = _before() | _flatten(msgspec.json.decode(found, type=dict[str, Any]))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "its identity cannot be read"
    right = _before() | _flatten(msgspec.json.decode(wanted))
    return "; ".join(
        f"{name} {left.get(name)}, not {right.get(name)}"
        for name in sorted({*left, *right})
        if left.get(name, _MISSING) != right.get(name, _MISSING)
    )


def _before() -> dict[str, Any]:
    return {f"recipe.{name}": value for name, value in ADDED.items()}


def _flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
