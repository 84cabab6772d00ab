"""What --help says: every flag and every word of every command, with a unit and a default."""

import importlib
from collections.abc import Callable

import pytest

from benchmarks.low_shot_svm import LOW_SHOT_PROTOCOLS
from benchmarks.voc_svm import SVM_PROTOCOLS
from pretrain import rotation_recipes
from pretrain.deepcluster import recipes
from slurm.cli import Parser

REGISTRY = ("add", "list", "show", "edit", "rename", "remove")
COMMANDS = (
    *("pretrain", "pretrain show", "pretrain deepcluster", "pretrain rotation"),
    *("pretrain.deepcluster.show", "benchmarks", "benchmarks protocols"),
    *("benchmarks.linear_probe", "benchmarks.voc_svm", "benchmarks.low_shot_svm"),
    *("benchmarks.knn", "benchmarks.logreg", "benchmarks.datasets check"),
    *("benchmarks.features list", "benchmarks.features remove"),
    *(f"benchmarks.registry {name}" for name in REGISTRY),
    *("reports", "reports compare", "reports reproduce", "slurm"),
)


def main_of(command: str) -> tuple[Callable[[list[str]], None], list[str]]:
    name, *words = command.split()
    for module in (f"{name}.__main__", name):
        try:
            return importlib.import_module(module).main, words
        except ModuleNotFoundError:
            continue
    raise AssertionError(command)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Parser]:
    """The parser that answers a command's --help."""
    parsers: list[Parser] = []
    monkeypatch.setattr(Parser, "print_help", lambda parser: parsers.append(parser))

    def ask(command: str) -> Parser:
        main, words = main_of(command)
        with pytest.raises(SystemExit, match="0"):
            main([*words, "--help"])
        return parsers.pop()

    return ask


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_and_every_word_is_explained(
    command: str, shown: Callable[[str], Parser]
) -> None:
    actions = shown(command)._actions
    assert [action.dest for action in actions if not (action.help or "").strip()] == []


@pytest.mark.parametrize(
    ("method", "recipe"),
    [
        ("deepcluster", recipes.RECIPES[recipes.DEFAULT]),
        ("rotation", rotation_recipes.RESNET50),
    ],
)
def test_the_numbers_of_a_recipe_have_units_and_the_default(
    method: str, recipe: object, shown: Callable[[str], Parser]
) -> None:
    actions = {action.dest: action for action in shown(f"pretrain {method}")._actions}
    found = {name: actions[f"recipe:{name}"] for name in ("train.jitter", "train.crop", "gamma")}
    assert found["train.jitter"].metavar == "B,C,S,H"  # as many as it takes
    assert found["train.crop"].metavar == "PIXELS"
    assert (found["train.crop"].help or "").endswith("[224]")
    assert (found["gamma"].help or "").endswith("[0.1]")
    rate = recipe.learning_rate  # type: ignore[attr-defined]
    assert (actions["recipe:learning_rate"].help or "").endswith(f"[{rate}]")
    jitter = "0.4,0.4,1,0.5" if method == "deepcluster" else "none"
    assert (found["train.jitter"].help or "").endswith(f"or none [{jitter}]")


@pytest.mark.parametrize(
    ("command", "protocols"),
    [("benchmarks.voc_svm", SVM_PROTOCOLS), ("benchmarks.low_shot_svm", LOW_SHOT_PROTOCOLS)],
)
def test_protocols_are_listed(
    command: str, protocols: dict[str, object], shown: Callable[[str], Parser]
) -> None:
    (action,) = (one for one in shown(command)._actions if one.dest == "protocol")
    assert f"one of {', '.join(protocols)} (default: the first" in (action.help or "")
    assert len(protocols) == 4
