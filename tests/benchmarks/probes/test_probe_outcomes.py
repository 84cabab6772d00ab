"""The outcomes beside a probe's record: its figures again, whatever happened on the way."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import results
from benchmarks.outcomes.files import outcomes_path, read_outcomes
from benchmarks.probes.item import Probe
from tests.benchmarks.probes.test_training import make_item, read


def ranks(item: Probe) -> dict[str, np.ndarray]:
    record = read(item)
    assert record.outcomes is not None
    return read_outcomes(item.result, record.outcomes, record.data["val"])


def test_they_give_the_records_figures(tmp_path: Path, tiny_imagenet: Path) -> None:
    item = make_item(tmp_path, tiny_imagenet)
    item.run()
    found = ranks(item)
    heads = read(item).heads
    assert set(found) == {f"{tap}.{kind}" for tap in heads for kind in ("rank", "predicted")}
    labels = np.repeat([0, 1, 2], 6)
    for tap, head in heads.items():
        rank, predicted = found[f"{tap}.rank"], found[f"{tap}.predicted"]
        assert rank.dtype == np.int16
        assert 100 * (rank == 0).mean() == pytest.approx(head.top1)
        assert 100 * (rank < 5).mean() == pytest.approx(head.top5)
        assert ((rank == 0) == (predicted == labels)).all()


def test_a_run_that_ended_before_its_record_was_written_has_them_too(
    tmp_path: Path, tiny_imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_item(tmp_path / "whole", tiny_imagenet)
    whole.run()
    item = make_item(tmp_path / "cut", tiny_imagenet)

    def cut(path: Path, record: results.Record) -> None:
        raise KeyboardInterrupt

    written = results.write
    monkeypatch.setattr(results, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        item.run()
    monkeypatch.setattr(results, "write", written)
    outcomes_path(item.result).unlink()
    item.run()
    assert outcomes_path(item.result).read_bytes() == outcomes_path(whole.result).read_bytes()
    assert read(item).outcomes == read(whole).outcomes
