"""Attentive heads against torch's attention and batch normalisation, alone and in a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import results
from benchmarks.catalog.further.imagenet_attentive import (
    DIGITS_IMAGENET_ATTENTIVE,
    IMAGENET_ATTENTIVE,
)
from benchmarks.catalog.own import on_own_data
from benchmarks.linear_probe import main
from benchmarks.outcomes.files import read_outcomes
from benchmarks.probes.attentive import EPSILON, AttentiveHead, SyncedNorm
from benchmarks.probes.heads import Heads, parameter_groups
from benchmarks.probes.optimization import learning_rate
from slurm.cli import run_command

N, C, L, CLASSES = 6, 12, 10, 5


def positions(seed: int = 0) -> torch.Tensor:
    return torch.randn(N, C, L, generator=torch.Generator().manual_seed(seed)) + 0.5


def head(queries: int, **changes: Any) -> AttentiveHead:
    protocol = replace(IMAGENET_ATTENTIVE, **changes)
    return AttentiveHead(C, queries, CLASSES, protocol, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("queries", [1, 4, 12])
def test_a_head_is_torch_attention_then_batch_norm_then_a_linear_layer(queries: int) -> None:
    """As the authors write it: every position is projected, then each query takes its slice."""
    ours = head(queries)
    ours.query.data.normal_()  # far from uniform attention
    tokens = positions().transpose(1, 2)  # (N, L, C)
    values = tokens @ ours.value.flatten(0, 1).T
    slices = values.view(N, L, queries, -1).transpose(1, 2)  # (N, queries, L, C / queries)
    parts = [
        F.scaled_dot_product_attention(
            ours.query[None, q : q + 1].expand(N, 1, C), tokens, slices[:, q]
        ).flatten(1)
        for q in range(queries)
    ]
    norm = nn.BatchNorm1d(C, affine=False, eps=EPSILON)
    expected = F.linear(norm(torch.cat(parts, 1)), ours.linear.weight, ours.linear.bias)
    torch.testing.assert_close(ours(positions()), expected)
    assert not torch.allclose(ours.attention(positions()), torch.tensor(1 / L))


def test_a_query_is_a_head_of_one_query_in_multi_head_cross_attention() -> None:
    """V-JEPA's form: torch's nn.MultiheadAttention with projected keys, nothing after it."""
    heads, tokens = 3, positions().transpose(1, 2)
    torch.manual_seed(0)
    judge = nn.MultiheadAttention(C, heads, bias=False, batch_first=True)
    judge.out_proj.weight.data = torch.eye(C)
    query = torch.randn(1, C)
    expected, _ = judge(query.expand(N, 1, C), tokens, tokens)
    asked, keys, values = judge.in_proj_weight.detach().view(3, heads, C // heads, C)
    projected = torch.einsum("hdc,c->hd", asked, query[0])
    ours = head(heads, batch_norm="none")
    # Scores there are divided by sqrt(C / heads).
    ours.query.data = torch.einsum("hd,hdc->hc", projected, keys) * heads**0.5
    ours.value.data = values
    ours.linear = nn.Linear(C, C)
    ours.linear.weight.data, ours.linear.bias.data = torch.eye(C), torch.zeros(C)
    torch.testing.assert_close(ours(positions()), expected.flatten(1))


def test_norm_and_its_gradients_are_those_of_torch_batch_norm() -> None:
    ours, judge = SyncedNorm(C), nn.BatchNorm1d(C, affine=False, eps=EPSILON)
    weights = torch.randn(N, C, generator=torch.Generator().manual_seed(3))
    for seed in range(3):
        found = positions(seed)[..., 0].requires_grad_()
        expected = positions(seed)[..., 0].requires_grad_()
        for norm, inputs in ((ours, found), (judge, expected)):
            (norm(inputs) * weights).square().sum().backward()
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.running_mean, judge.running_mean)
    torch.testing.assert_close(ours.running_var, judge.running_var)
    ours.eval(), judge.eval()
    torch.testing.assert_close(ours(positions()[..., 1]), judge(positions()[..., 1]))
    ours.train()
    assert ours(torch.ones(1, C)).isfinite().all()  # a last batch of one image


def test_heads_share_the_positions_and_all_their_weights_decay() -> None:
    protocol = replace(IMAGENET_ATTENTIVE, queries=(1, 4))
    heads = Heads({"positions": C}, {"positions": positions()}, CLASSES, protocol, seed=0)
    logits = heads({"positions": positions()})
    assert {name: tuple(one.shape) for name, one in logits.items()} == {
        "ep1": (N, CLASSES),
        "ep4": (N, CLASSES),
    }
    (group,) = parameter_groups(heads, 0.1)
    assert len(group["params"]) == 2 * 4  # type: ignore[arg-type]


def test_the_rate_warms_up_and_then_falls_by_a_cosine() -> None:
    rates = [learning_rate(IMAGENET_ATTENTIVE, epoch) for epoch in range(90)]
    assert rates[:10] == pytest.approx([1.6 * (epoch + 0.5) / 10 for epoch in range(10)])
    assert rates[10] == 1.6
    assert rates[50] == pytest.approx(0.8)
    assert rates[10:] == sorted(rates[10:], reverse=True)


FLAGS = ("--protocol", DIGITS_IMAGENET_ATTENTIVE.name, "--device", "cpu", "--workers", "0")


def test_the_command_learns_and_keeps_the_outcomes(tmp_path: Path, tiny_imagenet: Path) -> None:
    flags = ["--ckpt", "random:test_resnet", "--zoo", str(tmp_path), "--data", str(tiny_imagenet)]
    main([*flags, *FLAGS, "--epochs", "12", "--set", "queries=1,4"])
    (path,) = tmp_path.glob("results/random-test_resnet/imagenet_attentive/*.json")
    record = results.read(path, results.ProbeRecord)
    assert list(record.heads) == ["ep1", "ep4"]
    assert (record.variant, record.settings["queries"]) == ("custom", [1, 4])
    assert on_own_data(DIGITS_IMAGENET_ATTENTIVE, "birds").benchmark == "own_attentive"
    assert record.outcomes is not None
    seen = read_outcomes(path, record.outcomes, record.data["val"])
    for name, one in record.heads.items():
        assert 100 * (seen[f"{name}.rank"] == 0).mean() == pytest.approx(one.top1)
        assert one.best_top1 > 50  # three classes


def test_mistakes_are_one_line(
    tmp_path: Path, tiny_imagenet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--ckpt", "random:test_resnet", "--zoo", str(tmp_path), "--data", str(tiny_imagenet)]
    for flags, says in {
        ("--lr", "0.1"): "has no grid",
        ("--weight-decay", "0.1"): "has no grid",
        ("--set", "queries=7"): "7 queries cannot share the 96 channels",
        ("--set", "queries=none"): "has no queries",
        ("--set", "queries=0"): "0 is not a number",
    }.items():
        with pytest.raises(SystemExit) as ended:
            run_command(main, [*base, *FLAGS, *flags])
        lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
        assert ended.value.code == 2
        assert len(lines) == 1
        assert says in lines[0]
    assert not (tmp_path / "results").exists()
