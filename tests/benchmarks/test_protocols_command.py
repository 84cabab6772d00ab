"""`python -m benchmarks protocols`: every number of every protocol can be read."""

import pytest

from benchmarks.__main__ import main
from benchmarks.catalog.imagenet_linear import IMAGENET_LINEAR
from benchmarks.catalog.listed import PROTOCOLS
from slurm.errors import UserError


def test_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["protocols"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PROTOCOLS)


def test_one_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    main(["protocols", IMAGENET_LINEAR.name])
    shown = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    numbers = {name.strip(): value.strip() for name, value in shown.items()}
    assert (numbers["epochs"], numbers["milestones"]) == ("90", "[30, 60]")
    assert numbers["train.lighting"] == "0.1"


def test_an_unknown_one_has_close_matches() -> None:
    with pytest.raises(UserError, match="did you mean voc07_svm"):
        main(["protocols", "voc07_svn"])
