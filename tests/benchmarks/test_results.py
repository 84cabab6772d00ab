import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import results
from benchmarks.catalog.imagenet_avgpool import IMAGENET_AVGPOOL
from benchmarks.catalog.listed import PROTOCOLS
from benchmarks.catalog.records import read_record
from benchmarks.protocols import LinearProtocol
from slurm.errors import UserError


def probe_record(**changes: Any) -> results.ProbeRecord:
    fields: dict[str, Any] = {
        "benchmark": "imagenet_avgpool",
        "protocol": IMAGENET_AVGPOOL.name,
        "protocol_version": 1,
        "variant": "mmselfsup",
        "settings": msgspec.to_builtins(IMAGENET_AVGPOOL),
        "checkpoint": results.Checkpoint("a", "resnet18", "0" * 64),
        "data": {"train": results.Split(10, 2, "ab"), "val": results.Split(4, 2, "cd")},
        "seed": 0,
        "device": "cpu",
        "threads": 2,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.5,
        "heads": {"avgpool": results.Head(50.0, 100.0, 75.0, 1, (75.0, 50.0))},
        "epochs": 2,
        **results.environment(),
    }
    return results.ProbeRecord(**{**fields, **changes})


def test_a_record_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "record.json"
    results.write(path, probe_record())
    assert results.encode(read_record(path)) == path.read_bytes()
    assert read_record(path).checkpoint == probe_record().checkpoint
    assert results.is_done(path, results.ProbeRecord)
    assert not results.is_done(path, results.VocSvmRecord)
    assert [entry.name for entry in path.parent.iterdir()] == ["record.json"]


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    content = results.encode(probe_record())
    for length in range(len(content) - 1):  # the last byte is a line break
        path.write_bytes(content[:length])
        assert not results.is_done(path, results.ProbeRecord), content[:length][-20:]


@pytest.mark.parametrize(
    "content", [b"{\n}\n", b"[" * 100_000 + b"\n}\n", b"\xff\n}\n", b'{"benchmark": 1\n}\n']
)
def test_what_only_ends_like_a_record_is_not_done_and_that_is_said(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert not results.is_done(path, results.ProbeRecord)
    assert not results.is_done(path, results.ProbeRecord)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path} is damaged (")
    assert line.endswith("it is computed again")


def test_a_record_of_another_schema_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    results.write(path, probe_record(schema=2))
    with pytest.raises(UserError, match="has schema 2, this version writes 1: move it away"):
        results.is_done(path, results.ProbeRecord)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "50", None])
def test_what_is_no_number_is_never_written(value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        results.encode(probe_record(seconds=value))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": 99}, "schema 99"),
        ({"benchmark": "other"}, "unknown benchmark 'other'"),
        ({"heads": {"avgpool": {"top1": "x"}}}, "Expected `float`, got `str`"),
        ({"surprise": 1}, "unknown field `surprise`"),
    ],
)
def test_a_foreign_record_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**json.loads(results.encode(probe_record())), **change}))
    with pytest.raises(UserError, match=complaint) as raised:
        read_record(path)
    assert str(path) in str(raised.value)


def test_half_a_record_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(results.encode(probe_record())[:200])
    with pytest.raises(UserError, match=r"record\.json is not a valid"):
        read_record(path)


def test_the_key_depends_on_every_number_of_a_protocol() -> None:
    keys = {results.key_of(protocol) for protocol in PROTOCOLS.values()}
    assert len(keys) == len(PROTOCOLS)
    assert results.key_of(1, "a") != results.key_of("1", "a")


def test_linear_schedules_end_within_their_epochs() -> None:
    for protocol in PROTOCOLS.values():
        if isinstance(protocol, LinearProtocol):
            assert all(milestone < protocol.epochs for milestone in protocol.milestones)
            assert bool(protocol.milestones) == (protocol.schedule == "step")
            assert list(protocol.milestones) == sorted(set(protocol.milestones))


DEMO = Path(__file__).parents[2] / "docs" / "demo"


@pytest.mark.parametrize(
    "path", sorted(DEMO.glob("results/*/*_linear/*.json")) + sorted(DEMO.glob("results/*/*avg*/*"))
)
def test_records_of_older_versions_keep_their_names(path: Path) -> None:
    """Fields that protocols gained since are no reason to compute a finished record again."""
    from benchmarks.checkpoints.zoo import resolve

    record = read_record(path)
    assert isinstance(record, results.ProbeRecord)
    name = record.checkpoint.name.replace("random-", "random:")
    card = resolve(DEMO, name, record.seed)
    inputs = (record.checkpoint.weights, card.arch, card.sobel, card.mean, card.std, False)
    splits = (record.data["train"], record.data["val"])
    protocol = PROTOCOLS[record.protocol]
    assert isinstance(protocol, LinearProtocol)
    key = results.key_of(inputs, record.seed, protocol, splits)
    assert path.stem == f"{record.protocol}-{key}"


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "lars"},
        {"lars_eta": 0.1},
        {"lars_epsilon": 0.1},
        {"schedule": "cosine"},
        {"evaluate_every": 5},
    ],
)
def test_a_later_field_that_is_set_changes_the_key(change: dict[str, Any]) -> None:
    assert results.key_of(replace(IMAGENET_AVGPOOL, **change)) != results.key_of(IMAGENET_AVGPOOL)
