"""Stand-ins for what lies beside the weights of known frameworks: settings, loggers, arrays.

The unpickler is told that the framework's class or function is one of these. Nothing is imported
and nothing of the framework's is called: a stand-in drops its arguments and its attributes, but for
the flags of a training script, which can say what the trunk takes. Those that a file fills item by
item are made as an OrderedDict or a list, which the unpickler fills.
"""

import re
from collections import OrderedDict
from collections.abc import Collection
from typing import Any

# Modules whose objects stand beside weights in the files of known frameworks.
_BESIDE_WEIGHTS = re.compile(
    r"(argparse|pathlib|datetime|zoneinfo|time|decimal|fractions|uuid|random|string|typing|types|"
    r"enum|collections|functools|operator|dataclasses|logging|numpy|pandas|scipy|matplotlib|PIL|"
    r"omegaconf|antlr4|yacs|easydict|addict|munch|bunch|box|dotmap|attrdict|attr|attrs|pydantic|"
    r"ml_collections|absl|hydra|simple_parsing|tyro|jsonargparse|"
    r"mmengine|mmcv|mmcls|mmdet|mmseg|mmpretrain|mmselfsup|openselfsup|openmixup|"
    r"pytorch_lightning|lightning|lightning_fabric|lightning_utilities|lightly|lightly_train|solo|"
    r"vissl|classy_vision|fvcore|iopath|detectron2|slowfast|apex|torchmetrics|ignite|composer|"
    r"accelerate|transformers|huggingface_hub|timm\.(data|loss|optim|scheduler|utils)|dinov2|wandb|"
    r"torchvision\.(datasets|transforms)|torch\.(optim|torch_version|cuda\.amp|amp|utils\.data)|"
    r"sklearn|faiss)"
    r"\..+|"
    r"builtins\.(object|type|dict|list|tuple|frozenset|int|float|str|bool|bytes|slice|range|"
    r"getattr|max|min|len|sum|abs|round|sorted|Ellipsis|NotImplemented|print)|"
    r"copyreg\.(_reconstructor|__newobj__|__newobj_ex__)|_operator\..+|_functools\..+"
)
# Of these modules, what the unpickler itself knows.
_REAL = ("collections.OrderedDict", "collections.Counter")


class Placeholder:
    """Stands for an object that is not needed; takes whatever it is given and keeps nothing."""

    __slots__ = ()
    stands_for = "an object"

    def __new__(cls, *_: object, **__: object) -> "Placeholder":
        """Ignore the arguments of whatever class this stands for."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


class Settings(Placeholder):
    """Stands for an argparse.Namespace, the flags of a script."""

    __slots__ = ("flags",)
    flags: dict[object, object]

    def __new__(cls, *_: object, **__: object) -> "Settings":
        """One without flags, as long as the file names none."""
        made = object.__new__(cls)
        made.flags = {}
        return made

    def __setstate__(self, state: object) -> None:
        """Keep the flags, which come as the value of one attribute (see pickles)."""
        if type(state) is tuple and len(state) == 1:
            _, flags = state[0]
            self.flags = flags if type(flags) is dict else {}


class DictionaryPlaceholder:
    """Stands for a subclass of dict: an ordered one is made, whose attributes nobody reads."""

    def __new__(cls, *_: object) -> OrderedDict[object, object]:  # type: ignore[misc]
        """Ignore the arguments."""
        return OrderedDict()


class ListPlaceholder(list[object]):
    """Stands for a subclass of list, or a deque."""

    def __init__(self, *_: object) -> None:
        """Ignore the arguments."""

    def __setstate__(self, _: object) -> None: ...


def is_stood_in_for(name: str) -> bool:
    """Whether the class or function of that full name has a stand-in."""
    return bool(_BESIDE_WEIGHTS.fullmatch(name)) and name not in _REAL


def stand_ins(
    names: Collection[str], lists: Collection[str], dictionaries: Collection[str]
) -> list[Any]:
    """Pairs (stand-in, full name) for torch.serialization.safe_globals."""
    pairs: list[Any] = []
    for name in sorted(filter(is_stood_in_for, names)):
        if name in dictionaries:
            pairs.append((DictionaryPlaceholder, name))
        elif name in lists:
            pairs.append((ListPlaceholder, name))
        elif name == "argparse.Namespace":
            pairs.append((Settings, name))
        else:
            pairs.append((type("Placeholder", (Placeholder,), {"stands_for": name}), name))
    return pairs
