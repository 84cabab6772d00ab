"""Probes that read one stream: their heads against those of runs of their own, bit for bit."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import results
from benchmarks.images import batches
from benchmarks.linear_probe import LINEAR_PROTOCOLS
from benchmarks.probes import frozen, pieces, stream, training
from benchmarks.probes.groups import Together, together
from benchmarks.probes.item import Probe, probe_item
from benchmarks.protocols import ImageTransform, LinearProtocol
from slurm.errors import UserError
from slurm.executor import Launch, run_sweep
from slurm.stop import Stopped
from slurm.stored.items import ListedItem, list_records, write_items
from slurm.sweep import describe
from tests.benchmarks.voc_data import make_trunk
from tests.conftest import write_image_folders

TRAIN, VAL = 15, 6  # images
TRUNKS = ("random:test_resnet", "random:sobel_test_resnet", "random:test_vit")
Heads = dict[str, Tensor]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_folders(tmp_path_factory.mktemp("few") / "imagenet", train=5, val=2)


@pytest.fixture(scope="module")
def kept() -> Iterator[dict[str, Heads]]:
    """The heads of each probe that ended, by its key, and batches of more than one piece."""
    heads: dict[str, Heads] = {}
    end_epoch = training.ProbeRun.end_epoch

    def keep(run: training.ProbeRun) -> None:
        end_epoch(run)
        if run.done:
            heads[run.name] = {
                name: values.clone() for name, values in run.heads.state_dict().items()
            }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.ProbeRun, "end_epoch", keep)
        patch.setattr(pieces, "MOST_IMAGES", 4)
        yield heads


def _smaller(spec: ImageTransform) -> ImageTransform:
    shown = replace(spec, crop=32, resize=36 if spec.resize else None)
    return replace(shown, random_crop=36) if spec.random_crop else shown


def scaled(number: int, protocol: LinearProtocol) -> LinearProtocol:
    """The protocol on small images in one or two epochs, with batches of a size of its own."""
    return replace(
        protocol,
        dataset="imagenet",
        train=_smaller(protocol.train),
        test=_smaller(protocol.test),
        epochs=1 + number % 2,
        milestones=(1,) if protocol.milestones else (),
        learning_rate=min(protocol.learning_rate, 0.1),
        pooled_size=64,
        batch_size=4 + number % 5,
        evaluate_every=1,
    )


SCALED = {
    name: scaled(*one) for one in enumerate(LINEAR_PROTOCOLS.values()) for name in [one[1].name]
}
MHEAD, AVGPOOL, LARS = list(SCALED.values())[:3]


def probe(zoo: Path, data: Path, protocol: LinearProtocol, ckpt: str = TRUNKS[0]) -> Probe:
    return probe_item(make_trunk(zoo, ckpt), data, protocol)


def assert_same(found: Heads, expected: Heads) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


def figures(item: Probe) -> dict[str, results.Head]:
    return results.read(item.result, results.ProbeRecord).heads


@pytest.fixture(scope="module")
def alone(
    data: Path, kept: dict[str, Heads], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[LinearProtocol, str], tuple[Heads, dict[str, results.Head]]]:
    """The heads and figures of a protocol's own run; each is made once."""
    zoo, found = tmp_path_factory.mktemp("alone"), {}

    def run(protocol: LinearProtocol, ckpt: str) -> tuple[Heads, dict[str, results.Head]]:
        item = probe(zoo, data, protocol, ckpt)
        if item.key not in found:
            item.run()
            found[item.key] = (kept[item.key], figures(item))
        return found[item.key]

    return run


def _pairs() -> list[tuple[str, str]]:
    """All pairs of protocols that can read one stream."""

    def geometry(protocol: LinearProtocol) -> tuple[ImageTransform, ...]:
        found = (protocol.train, protocol.test)
        return tuple(replace(one, jitter=None, lighting=None, greyscale=None) for one in found)

    def alike(first: LinearProtocol, second: LinearProtocol) -> bool:
        """Those with heads of another kind are paired with a multi-head probe alone."""
        apart = [one for one in (first, second) if one.taps in ("positions", "blocks")]
        others = [one for one in (first, second) if one not in apart]
        return not apart or [one.benchmark for one in others] == ["imagenet_linear"]

    return [
        (first, second)
        for first, second in combinations(SCALED, 2)
        if geometry(SCALED[first]) == geometry(SCALED[second])
        and alike(SCALED[first], SCALED[second])
    ]


def test_most_protocols_can_be_paired() -> None:
    # Of random resized crops, and of the digits; attentive heads and those on blocks.
    assert len(_pairs()) == 9 * 8 / 2 + 4 * 3 / 2 + 2 * (3 + 1)


@pytest.mark.parametrize("pair", _pairs(), ids=lambda pair: f"{pair[0]}+{pair[1]}")
def test_every_pair_of_protocols_trains_the_heads_of_each(
    tmp_path: Path,
    data: Path,
    kept: dict[str, Heads],
    alone: Callable[..., object],
    pair: Sequence[str],
) -> None:
    parts = tuple(probe(tmp_path, data, SCALED[name]) for name in pair)
    expected = [alone(SCALED[name], TRUNKS[0]) for name in pair]
    Together(parts).run()
    for part, (heads, figure) in zip(parts, expected):  # type: ignore[misc]
        assert_same(kept[part.key], heads)
        assert figures(part) == figure
        assert not part.state.exists()


def test_each_image_is_decoded_once_an_epoch_for_all_trunks(
    tmp_path: Path,
    data: Path,
    kept: dict[str, Heads],
    alone: Callable[..., tuple[Heads, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two epochs of one protocol, one of the other, on three trunks."""
    protocols = (replace(MHEAD, epochs=2), replace(AVGPOOL, epochs=1))
    parts = [probe(tmp_path, data, one, ckpt) for ckpt in TRUNKS for one in protocols]
    decoded: list[Path] = []
    encoded = batches.Encoded
    monkeypatch.setattr(batches, "Encoded", lambda path: decoded.append(path) or encoded(path))
    (group,) = together(parts, None)
    group.run()
    assert len(decoded) == 2 * (TRAIN + VAL)
    assert len(set(decoded)) == TRAIN + VAL
    for part in parts:
        assert_same(kept[part.key], alone(part.protocol, part.trunk.ckpt)[0])


@pytest.mark.parametrize("stop_at", [1, 4, 9])
def test_a_stopped_group_continues_in_other_groups(
    tmp_path: Path,
    data: Path,
    kept: dict[str, Heads],
    alone: Callable[..., tuple[Heads, object]],
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
) -> None:
    protocols = (replace(MHEAD, epochs=2), AVGPOOL, LARS)
    parts = [probe(tmp_path, data, one, ckpt) for ckpt in TRUNKS[:2] for one in protocols]
    calls = iter(range(1000))
    monkeypatch.setattr(stream, "stop_requested", lambda: next(calls) == stop_at)
    with pytest.raises(Stopped, match="saved at epoch"):
        Together(tuple(parts)).run()
    assert all(part.state.exists() for part in parts if not part.done())
    monkeypatch.setattr(stream, "stop_requested", lambda: False)
    parts[1].run() if not parts[1].done() else None  # now at another place than the others
    for group in together([parts[5], *parts[:5]], 1):
        group.run()
    for part in parts:
        assert part.done()
        assert_same(kept[part.key], alone(part.protocol, part.trunk.ckpt)[0])


def test_probes_at_different_places_join_when_the_stream_comes_to_theirs(
    tmp_path: Path,
    data: Path,
    kept: dict[str, Heads],
    alone: Callable[..., tuple[Heads, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    protocols = [replace(MHEAD, epochs=3), replace(AVGPOOL, epochs=2), replace(LARS, epochs=3)]
    parts = [probe(tmp_path, data, one) for one in protocols]
    for part, stop_at in zip(parts, (6, 1)):
        calls = iter(range(1000))
        monkeypatch.setattr(stream, "stop_requested", lambda c=calls, n=stop_at: next(c) == n)
        with pytest.raises(Stopped):
            part.run()
    monkeypatch.setattr(stream, "stop_requested", lambda: False)
    (group,) = together(parts, None)
    group.run()
    for part in parts:
        assert_same(kept[part.key], alone(part.protocol, part.trunk.ckpt)[0])


def test_done_probes_do_not_join(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = tuple(probe(tmp_path, data, AVGPOOL, ckpt) for ckpt in TRUNKS)
    parts[1].run()
    before = parts[1].result.read_bytes()
    loaded, load = [], frozen.load_trunk
    monkeypatch.setattr(frozen, "load_trunk", lambda trunk: loaded.append(trunk) or load(trunk))
    Together(parts).run()
    assert loaded == [parts[0].trunk, parts[2].trunk]
    assert parts[1].result.read_bytes() == before
    assert Together(parts).done()


def test_whoever_looks_sees_that_a_group_is_done(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the list of a run on a cluster, which names the records of all."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # for the key of a run's items
    group = Together((probe(tmp_path, data, MHEAD), probe(tmp_path, data, AVGPOOL)))
    group.parts[0].run()
    write_items(tmp_path / "items", "run", 0, [group])
    (record,) = list_records(tmp_path / "items", 0, 1)
    listed = ListedItem(group.stage, group.key, group.resources, record)
    assert not listed.done()
    group.run()
    assert listed.done()


def test_a_probe_that_diverges_leaves_the_others_alone(
    tmp_path: Path, data: Path, kept: dict[str, Heads], alone: Callable[..., tuple[Heads, object]]
) -> None:
    bad = replace(MHEAD, learning_rate=1e30)
    parts = (probe(tmp_path, data, bad), probe(tmp_path, data, AVGPOOL))
    with pytest.raises(UserError, match="diverged in epoch 1"):
        Together(parts).run()
    assert not parts[0].result.exists()
    assert_same(kept[parts[1].key], alone(AVGPOOL, TRUNKS[0])[0])


def test_a_damaged_image_is_named_and_other_datasets_are_measured(
    tmp_path: Path, data: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(data, damaged)
    (damaged / "train/n02/3.jpg").write_bytes(b"\xff\xd8 no picture")
    goals = [probe(tmp_path, folder, one) for folder in (damaged, data) for one in (MHEAD, AVGPOOL)]
    with pytest.raises(UserError, match=r"n02/3\.jpg is damaged") as caught:
        run_sweep(together(goals, None), Launch())
    assert "\n" not in str(caught.value)
    assert [goal.done() for goal in goals] == [False, False, True, True]


def test_groups_are_of_one_geometry_seed_and_dataset(tmp_path: Path, data: Path) -> None:
    trunks = [make_trunk(tmp_path, ckpt) for ckpt in TRUNKS]
    shifted = replace(AVGPOOL, name="shifted", train=ImageTransform(crop=32, resize=36))
    goals = [
        probe_item(trunk, data, protocol)
        for trunk in (*trunks, make_trunk(tmp_path, TRUNKS[0], seed=1))
        for protocol in (MHEAD, AVGPOOL, shifted)
    ]
    found = [getattr(item, "parts", (item,)) for item in together(goals, None)]
    of = [
        [(part.trunk.ckpt, part.trunk.seed, part.protocol.name) for part in parts]
        for parts in found
    ]
    both = (MHEAD.name, AVGPOOL.name)
    assert of == [
        [(ckpt, 0, name) for ckpt in TRUNKS for name in both],
        [(ckpt, 0, "shifted") for ckpt in TRUNKS],
        [(TRUNKS[0], 1, name) for name in both],
        [(TRUNKS[0], 1, "shifted")],
    ]
    two = together(goals, 2)
    assert [len(getattr(item, "parts", (item,))) for item in two] == [4, 2, 2, 1, 2, 1]
    assert len(together(goals, 1)) == 8
    assert together([goals[0]], 1) == [goals[0]]


def test_a_dry_run_shows_who_reads_together(tmp_path: Path, data: Path) -> None:
    goals = [probe(tmp_path, data, one) for one in (MHEAD, AVGPOOL, LARS)]
    goals[1].run()
    (group,) = together(goals, None)
    assert describe([group]).splitlines() == [
        "1 of 3 results are done",
        "probe: 1 to run",
        f"  {group.key}",
        f"    {goals[0].key}",
        f"    {goals[2].key}",
    ]
