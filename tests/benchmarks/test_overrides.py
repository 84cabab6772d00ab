"""Numbers of protocols and recipes, changed by name with their types kept."""

import argparse
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import overrides
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.catalog.voc07_svm import VOC07_SVM
from benchmarks.flags.measuring import add_set_flags
from pretrain.deepcluster.recipes import RECIPES
from slurm.errors import UserError

ALL = [*PROTOCOLS.values(), *RECIPES.values()]


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
def test_what_is_printed_can_be_set_again(config: Any) -> None:
    changes = [line.replace(" ", "").replace("'", '"') for line in overrides.lines_of(config)]
    names = [change.split("=")[0] for change in changes]
    assert {name.split(".")[0] for name in names} == set(config.__dataclass_fields__)
    again = [change.replace("True", "true").replace("False", "false") for change in changes]
    zero = [change for change in again if not change.endswith(("=0", "=0.0"))]
    assert overrides.changed(config, zero) == config


@pytest.mark.parametrize(
    ("config", "change", "fields"),
    [
        (IMAGENET_LINEAR, "epochs=1", {"epochs": 1}),
        (IMAGENET_LINEAR, "learning_rate=3e-2", {"learning_rate": 0.03}),
        (IMAGENET_LINEAR, "learning_rate=1", {"learning_rate": 1.0}),
        (IMAGENET_LINEAR, "milestones=5,8", {"milestones": (5, 8)}),
        (IMAGENET_LINEAR, "milestones=[5]", {"milestones": (5,)}),
        (IMAGENET_LINEAR, "milestones=5", {"milestones": (5,)}),
        (IMAGENET_LINEAR, "batch_norm=affine", {"batch_norm": "affine"}),
        (IMAGENET_LINEAR, "init_std=none", {"init_std": None}),
        (IMAGENET_LINEAR, "test.resize=300", {"test": replace(IMAGENET_LINEAR.test, resize=300)}),
        (VOC07_SVM, "costs=0.5,1", {"costs": (0.5, 1.0)}),
        (VOC07_SVM, "costs=10,1,0.1,1", {"costs": (0.1, 1.0, 10.0)}),
        (VOC07_LOW_SHOT, "shots=1,2", {"shots": (1, 2)}),
        (RECIPES["digits_sobel_resnet18-12e"], "clusters=20", {"clusters": 20}),
    ],
)
def test_a_change_is_that_field_alone(config: Any, change: str, fields: dict[str, Any]) -> None:
    found = overrides.changed(config, [change])
    assert found == replace(config, **fields)
    (line,) = overrides.differences(config, found)
    assert line.startswith(change.split("=")[0])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("epochs", "write FIELD=VALUE"),
        ("epocs=1", "did you mean epochs"),
        ("train.crp=1", "did you mean train.crop"),
        ("lr=1", "unknown field of --set 'lr'; did you mean learning_rate. known: epochs, milest"),
        ("wd=1", "did you mean weight_decay"),
        ("anything=1", r"unknown field of --set 'anything'; known: epochs, .*train.\*, test.\*$"),
        ("train.anything=1", "known: train.crop, train.resize, .*train.greyscale$"),
        ("epochs=one", "^--set epochs=one: needs a whole number$"),
        ("epochs=1.5", "needs a whole number$"),
        ("milestones=soon", "needs whole numbers with commas between, or none$"),
        ("train.jitter=0.4", "needs 4 numbers with commas between, or none$"),
        ("nesterov=3", "needs true or false$"),
        ("init_std=much", "needs a number, or none$"),
        ("train=4", "needs its fields one by one, such as train.crop and train.resize$"),
        ("epochs=0", "0 is not a number that this field can have"),
        ("epochs=-1", "-1 is not a number"),
        ("learning_rate=-0.1", "-0.1 is not a number"),
        ("learning_rate=NaN", "needs a number"),
        ("learning_rate=1e999", "needs a number|not a number"),
        ("batch_norm=none!", "needs one of none, plain, affine"),
        ("name=other", "unknown field of --set 'name'"),
        ("train.crop=64", "train.crop and test.crop differ"),
        ("test.crop=300", "test.crop 300 is larger than the resized image, 256"),
        ("train.jitter=2,0,0,0", "train.jitter is at most 1"),
        ("train.jitter=0.4,0.4,0.4,0.6", "0.5 for hue"),
        ("train.greyscale=2", "train.greyscale is a probability"),
    ],
)
def test_a_wrong_change_is_one_line(change: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as raised:
        overrides.changed(IMAGENET_LINEAR, [change], fixed=overrides.IDENTITY)
    assert "\n" not in str(raised.value)


@given(st.text(max_size=20), st.text(max_size=20))
def test_nothing_else_comes_of_any_words(name: str, value: str) -> None:
    try:
        found = overrides.changed(IMAGENET_LINEAR, [f"{name}={value}"])
    except UserError:
        return
    assert type(found) is type(IMAGENET_LINEAR)


def flags(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_set_flags(parser)
    return parser.parse_args(words)


def test_a_suite_changes_the_protocols_that_have_the_field() -> None:
    probe, svm = overrides.custom([IMAGENET_LINEAR, VOC07_SVM], flags("--epochs", "1"))
    assert probe == replace(IMAGENET_LINEAR, epochs=1, variant="custom")
    assert svm == VOC07_SVM
    probe, svm = overrides.custom([IMAGENET_LINEAR, VOC07_SVM], flags("--set", "pooled_size=512"))
    assert (probe.pooled_size, svm.pooled_size) == (512, 512)
    assert (probe.variant, svm.variant) == ("custom", "custom")


def test_what_is_set_to_what_it_is_stays_the_protocol() -> None:
    same = overrides.custom([IMAGENET_LINEAR], flags("--epochs", "90", "--set", "momentum=0.9"))
    assert same == [IMAGENET_LINEAR]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("costs=0", "costs are one or more numbers above 0"),
        ("costs=none", "costs are one or more numbers above 0"),
        ("positive_weight=0.0", "positive_weight is above 0"),
        ("folds=1", "folds are 2 or more"),
    ],
)
def test_numbers_that_no_svm_can_have(change: str, complaint: str) -> None:
    with pytest.raises(UserError, match=f"^--set {change}: {complaint}"):
        overrides.custom([VOC07_SVM], flags("--set", change))


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.name)
def test_every_field_says_what_it_takes(config: Any) -> None:
    names = [line.split()[0] for line in overrides.lines_of(config)]
    words = ("name", "arch", "benchmark", "dataset", "selection", "config", "feature")
    for name in names:
        if name not in words:  # which take any word
            with pytest.raises(UserError, match=rf"^--set {name}={{}}: needs [a-z0-9, ]+$"):
                overrides.changed(config, [f"{name}={{}}"])


def test_what_the_low_shot_svms_choose_on_is_a_word_and_cannot_be_set() -> None:
    with pytest.raises(UserError, match="unknown field of --set 'selection'"):
        overrides.custom([VOC07_LOW_SHOT], flags("--set", "selection=val"))


def test_a_suite_names_the_fields_of_all_its_protocols() -> None:
    with pytest.raises(UserError, match=r"known: epochs, .*lars_eta, .*costs, folds, .*image"):
        overrides.custom([IMAGENET_LINEAR, VOC07_SVM], flags("--set", "anything=1"))


@pytest.mark.parametrize("change", ["folds=4", "name=x", "variant=fair", "version=7", "nothing=1"])
def test_a_field_that_none_has_or_may_change_is_refused(change: str) -> None:
    with pytest.raises(UserError, match="unknown field of --set"):
        overrides.custom([IMAGENET_LINEAR], flags("--set", change))


def test_epochs_are_given_once() -> None:
    with pytest.raises(UserError, match="--epochs 1 and --set epochs=2 are both given"):
        overrides.custom([IMAGENET_LINEAR], flags("--epochs", "1", "--set", "epochs=2"))
