"""Numbers that no training can be done with, by any method: a line that names flag and bound."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pretrain import rotation_recipes
from pretrain.__main__ import main
from pretrain.deepcluster import recipes
from pretrain.deepcluster.train import Run
from pretrain.images import read_images
from pretrain.recipe_checks import check_numbers, check_share
from pretrain.rotation_training import Training
from slurm.distributed import World
from slurm.errors import UserError
from tests.pretrain import test_rotation
from tests.pretrain.tiny import TINY

RECIPES = (*recipes.RECIPES.values(), *rotation_recipes.RECIPES.values(), TINY, test_rotation.TINY)
DEEPCLUSTER = "deepcluster --recipe digits_sobel_resnet18-12e --clusters 4 --pca 4"
ROTATION = "rotation --recipe digits_rotation_resnet18-8e"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_numbers_of_every_recipe_can_be(recipe: object) -> None:
    check_numbers(recipe)


@pytest.mark.parametrize("method", [DEEPCLUSTER, ROTATION])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("--batch-size 1", "--batch-size 1: it is to be 2 images or more"),
        ("--batch-size 100000000000000000000", "and at most 100000"),
        ("--set batch_size=1", "--batch-size 1: it is to be 2 images or more"),
        ("--learning-rate 1e39", r"--learning-rate 1e\+39: .* finite: 1.2e-38 to 3.4e\+38"),
        ("--learning-rate 1e300", "finite"),
        ("--learning-rate 0", "--learning-rate 0.0: it is to be above 0"),
        ("--weight-decay 1e300", r"--weight-decay 1e\+300: it is to be finite in 32 bits"),
        ("--momentum 1", "--momentum 1.0: it is to be from 0 to below 1"),
        ("--gamma 0", "--gamma 0.0: it is to be above 0 and at most 1"),
        ("--gamma 1.5", "--gamma 1.5: it is to be above 0 and at most 1"),
        ("--milestones 3,100000000000000000000", "--milestones 1000.*: it is to be at most"),
        ("--set epochs=100000000000000000000", "--epochs 1000.*: it is to be at most 1000000"),
        ("--train-rotation 200", "--train-rotation 200.0: it is to be 0 to 180 degrees"),
        ("--train-crop 90000 --train-resize 90000 --train-random-crop none", "at most 10000"),
        ("--std 0.229,0.224,0.0009", "--std: std 0.0009 is none of pixels in 0..1"),
        ("--std 0,0,0", "--std: std 0.0 is none of pixels"),
        ("--mean 123.7,116.3,103.5", "--mean: mean 123.7 is none of pixels"),
    ],
)
def test_a_number_out_of_its_bounds_is_refused_when_planning(
    data: Path, tmp_path: Path, method: str, given: str, says: str
) -> None:
    words = [*method.split(), *given.split(), "--name", "x", "--data", str(data)]
    with pytest.raises(UserError, match=says):
        main([*words, "--zoo", str(tmp_path), "--device", "cpu", "--dry-run"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ratio", ["1.01", "1.5"])
def test_a_warm_up_rises_from_a_part_of_the_rate(data: Path, tmp_path: Path, ratio: str) -> None:
    words = [*ROTATION.split(), "--warmup-ratio", ratio, "--name", "x", "--data", str(data)]
    with pytest.raises(UserError, match=r"--warmup-ratio .*: it is to be from 0 to 1"):
        main([*words, "--zoo", str(tmp_path), "--dry-run"])


@pytest.mark.parametrize("loop", [Run, Training])
def test_each_process_has_two_images_or_more(data: Path, loop: type[Run] | type[Training]) -> None:
    """Said by the loops before they do anything."""
    recipe = replace(TINY if loop is Run else test_rotation.TINY, batch_size=2)
    settings, world = Namespace(amp=False), World(rank=1, size=2)
    with pytest.raises(UserError, match=r"2 processes with one image each .* use a larger"):
        loop(recipe, read_images(data), settings, world, torch.device("cpu"))  # type: ignore[arg-type]
    check_share(4, 2, "tiny")
    with pytest.raises(UserError, match="3 processes cannot share the batches of 4 images of tiny"):
        check_share(4, 3, "tiny")
