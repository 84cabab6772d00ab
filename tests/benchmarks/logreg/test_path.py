"""The solver: scikit-learn's minimum at every cost of a path, whatever the problem's shape."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from benchmarks.logreg import precondition, problem
from benchmarks.logreg.evaluation import is_unsolved
from benchmarks.logreg.path import solutions
from benchmarks.logreg.problem import Model, Problem, Standard, logits

COSTS = [10.0 ** (-6 + 11 * number / 44) for number in range(45)]


def made(
    rows: int, dimensions: int, classes: int, apart: float = 0.6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Problem]:
    """Rectified clouds of a steep spectrum, as a trunk's last map is, and their problem."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, rows - classes)]
    points = apart * rng.normal(size=(classes, dimensions))[labels]
    points = (points + rng.normal(size=points.shape)) * np.arange(1, dimensions + 1) ** -0.7
    turned = points @ np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    features = np.maximum(3 * turned + 0.1, 0).astype(np.float32)
    tensor = torch.from_numpy(features)
    standard = Standard(tensor.double().mean(0), torch.ones(dimensions, dtype=torch.float64))
    return features, labels, Problem(tensor, torch.from_numpy(labels), classes, standard)


def plain_objective(features: np.ndarray, labels: np.ndarray, cost: float, raw: Model) -> float:
    """C times the sum of cross-entropies, plus half the squared weights, in plain NumPy."""
    values = features.astype(float) @ raw.weight.numpy() + raw.bias.numpy()
    values -= values.max(1, keepdims=True)
    loss = np.log(np.exp(values).sum(1)) - values[np.arange(len(labels)), labels]
    return cost * float(loss.sum()) + 0.5 * float((raw.weight.numpy() ** 2).sum())


@pytest.mark.parametrize(
    ("rows", "dimensions", "classes", "apart"),
    [(400, 30, 6, 0.6), (300, 40, 2, 0.3), (60, 80, 5, 1.0), (250, 20, 3, 8.0)],
    ids=["plain", "two classes", "more dimensions than rows", "separable"],
)
def test_every_cost_of_the_path_ends_at_scikit_learns_minimum(
    rows: int, dimensions: int, classes: int, apart: float
) -> None:
    features, labels, one = made(rows, dimensions, classes, apart)
    # scikit-learn's binary form has one weight vector for the difference, hence half the penalty.
    judge = LogisticRegression(tol=1e-8, max_iter=100_000, warm_start=True)
    costs = COSTS[::4]
    for cost, found in zip(costs, solutions(one, costs), strict=True):
        assert found.converged, cost
        raw = one.standard.raw(found.model)
        mine = plain_objective(features, labels, cost, raw)
        assert mine == pytest.approx(found.value, rel=1e-6)
        judge.set_params(C=2 * cost if classes == 2 else cost)
        judge.fit(features.astype(float), labels)
        weight, bias = judge.coef_.T, judge.intercept_
        if classes == 2:
            weight = np.c_[-weight[:, 0], weight[:, 0]] / 2
            bias = np.r_[-bias, bias] / 2
        theirs = Model(torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy()))
        best = plain_objective(features, labels, cost, theirs)
        assert mine <= best * (1 + 1e-6), cost
        if abs(mine - best) <= 1e-9 * best:  # scikit-learn gives up before that at large costs
            values = torch.cat(list(logits(raw, torch.from_numpy(features))))
            two = values.topk(2).values
            clear = ((two[:, 0] - two[:, 1]) > 1e-3).numpy()
            same = values.argmax(1).numpy() == judge.predict(features.astype(float))
            assert same[clear].all()


def test_the_gradient_is_that_of_the_value() -> None:
    _, _, one = made(50, 7, 4)
    rng = torch.Generator().manual_seed(0)
    model, way = (
        Model(
            torch.randn(7, 4, generator=rng, dtype=torch.float64),
            torch.randn(4, generator=rng, dtype=torch.float64),
        )
        for _ in range(2)
    )
    step = 1e-6
    high, low = (one.at(model.moved(way, sign * step), 3.0).value for sign in (1, -1))
    point = one.at(model, 3.0)
    assert point.gradient.dot(way) == pytest.approx((high - low) / (2 * step), rel=1e-6)
    ahead, behind = (one.at(model.moved(way, sign * 1e-4), 3.0).gradient for sign in (1, -1))
    bend = ahead.moved(behind, -1.0).dot(way) / 2e-4
    assert one.curvature(point, 3.0, way).dot(way) == pytest.approx(bend, rel=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(64, 300), st.integers(1, 20))
def test_blocks_and_the_size_of_the_preconditioner_change_nothing(block: int, size: int) -> None:
    _, _, one = made(300, 20, 4)
    expected = [found.value for found in solutions(one, COSTS[10:30:4])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem, "_rows", lambda dimensions, classes: block)
        patch.setattr(precondition, "FLOATS", 4 * size**2)
        found = [one.value for one in solutions(one, COSTS[10:30:4])]
    assert found == pytest.approx(expected, rel=1e-8)


def test_a_separable_problem_keeps_the_digits_of_a_small_loss() -> None:
    features, labels, one = made(250, 20, 3, 8.0)
    *_, last = solutions(one, COSTS)
    assert last.gap < 1e-8
    raw = one.standard.raw(last.model)
    assert (
        torch.cat(list(logits(raw, torch.from_numpy(features)))).argmax(1).numpy() == labels
    ).all()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e4])
def test_a_fit_that_did_not_reach_its_minimum_is_known(scale: float, seed: int) -> None:
    """Of features so large that fp32 products tell no way down, and separable classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(120) % 3
    points = rng.normal(size=(120, 20)) + 0.7 * rng.normal(size=(3, 20))[labels]
    features = (scale * points.astype(np.float32)).astype(np.float32)
    tensor = torch.from_numpy(features)
    standard = Standard(tensor.double().mean(0), torch.ones(20, dtype=torch.float64))
    one = Problem(tensor, torch.from_numpy(labels), 3, standard)
    costs = (1e-6, 1e-3, 1e-1, 10.0, 1e3, 1e5)
    centred = features.astype(float) - features.astype(float).mean(0)
    judge = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=10_000)
    for cost, found in zip(costs, solutions(one, costs), strict=True):
        judge.set_params(C=cost).fit(centred, labels)
        theirs = Model(torch.from_numpy(judge.coef_.T.copy()), torch.from_numpy(judge.intercept_))
        best = plain_objective(centred, labels, cost, theirs)
        above = found.value / min(best, found.value) - 1
        assert above <= 1e-6 or is_unsolved(found), (cost, above, found.gap)
        assert scale > 1 or not is_unsolved(found)
