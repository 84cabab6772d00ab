"""Both engines against each other and against scikit-learn's own cross-validation."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import LinearSVC

from benchmarks.catalog.voc07_low_shot_svm import VOC07_LOW_SHOT
from benchmarks.catalog.voc07_svm import FAIR_VOC07_SVM, VISSL_VOC07_SVM, VOC07_SVM
from benchmarks.features.files import LayerData
from benchmarks.flags.source import SOLVERS, Solver
from benchmarks.metrics import envelope_average_precision
from benchmarks.protocols import SvmProtocol
from benchmarks.results import SvmLayer
from benchmarks.svm import gram
from benchmarks.svm import machine as machines
from benchmarks.svm.draws import draw
from benchmarks.svm.evaluation import evaluate_full, evaluate_low_shot, stratified_folds
from benchmarks.svm.liblinear import LiblinearEngine, normalise
from benchmarks.svm.machine import Machine
from benchmarks.svm.solver import batch, newton
from slurm.errors import UserError
from tests.benchmarks.svm.svm_data import Recipe, layer_data, make

FEW_COSTS = replace(VOC07_SVM, costs=(0.5**19, 0.5**10, 0.5**5, 1.0, 10.0, 100.0))


def machine(data: LayerData, solver: Solver = "gram") -> Machine:
    return Machine(data, solver, 1e-5, 2.0, 0, "cpu")


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Callable[[LayerData], Machine]:
    """LinearSVC at tol 1e-8 behind the same protocol."""

    def build(data: LayerData) -> Machine:
        engine = LiblinearEngine(
            data.train,
            data.test,
            epsilon=1e-5,
            positive_weight=2.0,
            seed=0,
            tolerance=1e-8,
            max_iterations=3_000_000,
        )
        tight = machine(data, "liblinear")
        monkeypatch.setattr(machines, "_engine", _either(engine, machines._engine))
        return tight

    return build


def _either(engine: LiblinearEngine, original: Any) -> Any:
    def choose(layer: Any, solver: str, *settings: Any) -> Any:
        return engine if solver == "liblinear" else original(layer, solver, *settings)

    return choose


def assert_same(found: SvmLayer, expected: SvmLayer, costs: tuple[float, ...]) -> None:
    np.testing.assert_allclose(found.cv_ap, expected.cv_ap, atol=1e-3)
    for column, table in enumerate(np.array(expected.cv_ap) / 100):
        if found.cost[column] != expected.cost[column]:
            gap = table.max() - table[costs.index(found.cost[column])]
            assert gap <= 1e-6, "another cost was chosen although the scores differ"
        else:
            assert found.ap[column] == pytest.approx(expected.ap[column], abs=1e-3)


def with_duplicates(recipe: Recipe) -> LayerData:
    """Rows twice (with their own labels), a constant and a zero column."""
    data = make(recipe)
    train, test = data.train.copy(), data.test.copy()
    train[60:90] = train[:30]
    test[40:60] = test[:20]
    for rows in (train, test):
        rows[:, 0], rows[:, 1] = 0.7, 0.0
    return layer_data(train, test, data.train_labels, data.test_labels)


KINDS: dict[str, LayerData] = {
    "more rows than dimensions": make(Recipe(dimensions=12)),
    "more dimensions than rows": make(Recipe(rows=90, dimensions=300)),
    "fast decay": make(Recipe(dimensions=200, decay=1.5)),
    "slow decay": make(Recipe(dimensions=200, decay=0.1)),
    "duplicates and constant columns": with_duplicates(Recipe(dimensions=150, seed=3)),
    "three to five positives": make(Recipe(rows=45, dimensions=60, classes=2, seed=5)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_full_protocol_agrees_with_a_tight_linear_svc(
    kind: str, oracle: Callable[[LayerData], Machine]
) -> None:
    data = KINDS[kind]
    found = evaluate_full(machine(data), FEW_COSTS)
    expected_machine = oracle(data)
    expected = evaluate_full(expected_machine, FEW_COSTS)
    assert not expected_machine.notes, "the oracle itself did not converge"
    assert_same(found, expected, FEW_COSTS.costs)
    assert found.convergence["unsolved"] == 0
    assert np.max(found.convergence["cross_validation"]) <= 1e-6


def test_selection_is_scikit_learns_cross_val_score() -> None:
    data = make(Recipe(rows=90, dimensions=60, classes=2))
    found = evaluate_full(machine(data), FEW_COSTS)
    rows = normalise(data.train, 1e-5)
    for column in range(2):
        # As the public scripts: ignored rows are negatives, folds stratified and unshuffled.
        labels = np.where(data.train_labels[:, column] == 1, 1, -1)
        for at, cost in enumerate(FEW_COSTS.costs[:4]):
            one = LinearSVC(
                C=cost, class_weight={1: 2, -1: 1}, tol=1e-8, max_iter=100_000, random_state=1
            )
            scores = cross_val_score(one, rows, labels, cv=3, scoring="average_precision")
            assert found.cv_ap[column][at] == pytest.approx(100 * scores.mean(), abs=1e-3)


@pytest.mark.parametrize("protocol", [VOC07_SVM, FAIR_VOC07_SVM, VISSL_VOC07_SVM])
def test_every_variant_is_solved_at_all_its_costs(protocol: SvmProtocol) -> None:
    found = evaluate_full(machine(make(Recipe(rows=80, classes=2))), protocol)
    assert np.array(found.cv_ap).shape == (
        2,
        {"mmselfsup": 19, "fair": 26, "vissl": 11}[protocol.variant],
    )
    assert found.convergence["unsolved"] == 0
    assert set(found.cost) <= set(protocol.costs)


def test_the_default_solver_is_within_two_hundredths_of_the_public_one() -> None:
    data = make(Recipe(rows=200, dimensions=100))
    ours, public = (evaluate_full(machine(data, name), FEW_COSTS) for name in SOLVERS)
    assert ours.map == pytest.approx(public.map, abs=0.02)


def test_low_shot_agrees_with_linear_svc_and_keeps_every_cost() -> None:
    data = make(Recipe(rows=300, dimensions=80, classes=2))
    protocol = replace(VOC07_LOW_SHOT, costs=FEW_COSTS.costs, samples=2)
    targets = np.stack([draw(data.train_labels, data.classes, s, 3, 19, 0) for s in (1, 2)])
    found = evaluate_low_shot(machine(data), protocol, targets, "ab" * 32)
    train, test = normalise(data.train, 1e-5), normalise(data.test, 1e-5)
    expected = np.zeros((len(protocol.costs), 2))
    for at, cost in enumerate(protocol.costs):
        for sample in range(2):
            aps = []
            for column in range(2):
                rows = targets[sample, :, column] != -1
                labels = np.where(targets[sample, rows, column] == 1, 1, -1)
                one = LinearSVC(
                    C=cost, class_weight={1: 2, -1: 1}, tol=1e-8, max_iter=1_000_000, random_state=0
                ).fit(train[rows], labels)
                kept = data.test_labels[:, column] != -1
                positive = data.test_labels[kept, column] == 1
                aps.append(envelope_average_precision(one.decision_function(test[kept]), positive))
            expected[at, sample] = 100 * np.mean(aps)
    np.testing.assert_allclose(list(found.by_cost.values()), expected, atol=1e-3)
    best = expected.mean(1).argmax()
    assert found.cost == protocol.costs[best]
    assert found.mean == pytest.approx(expected[best].mean(), abs=1e-3)
    assert found.std == pytest.approx(expected[best].std(), abs=1e-3)
    assert (found.min, found.max) == (
        min(found.by_cost[repr(found.cost)]),
        max(found.by_cost[repr(found.cost)]),
    )


@settings(deadline=None)
@given(st.integers(3, 60), st.integers(0, 2**32 - 1))
def test_folds_are_scikit_learns(rows: int, seed: int) -> None:
    positive = np.random.default_rng(seed).random(rows) < 0.3
    if not 2 <= positive.sum() <= rows - 2:
        return
    held = stratified_folds(positive, 2)
    for fold, (_, test) in enumerate(StratifiedKFold(2).split(np.zeros(rows), positive)):
        np.testing.assert_array_equal(np.flatnonzero(held == fold), test)


# Invariances. The APs move only by ties that rounding breaks, so scores are compared.

BASE = make(Recipe(rows=80, dimensions=24, classes=1))
COSTS = np.array([[0.5**12, 0.5**4, 10.0]])


def keep(problem: int, cost: int, scores: NDArray[Any]) -> NDArray[Any]:
    """A grade that is the scores themselves."""
    return np.array(scores)


def scores_of(train: NDArray[Any], test: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    engine = machine(layer_data(train, test, labels[:, None], labels[:, None])).engine
    signs = np.where(labels == 1, 1, -1).astype(np.int8)[None]
    scores = engine.fit(signs, COSTS, keep, on_test=True).grades[0]
    return scores - scores.mean(1, keepdims=True)


@lru_cache(maxsize=1)
def base_scores() -> NDArray[Any]:
    return scores_of(BASE.train, BASE.test, BASE.train_labels[:, 0])


def assert_close(found: NDArray[Any]) -> None:
    expected = base_scores()
    spread = expected.std(1, keepdims=True)
    np.testing.assert_allclose(found / spread, expected / spread, atol=2e-4)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_row_order_and_rotation_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(BASE.train))
    turn = np.linalg.qr(rng.standard_normal((24, 24)))[0]
    assert_close(
        scores_of(
            (BASE.train[order] @ turn).astype(np.float32),
            (BASE.test @ turn).astype(np.float32),
            BASE.train_labels[order, 0],
        )
    )


@settings(max_examples=8, deadline=None)
@given(st.floats(0.5, 1000), st.integers(0, 24))
def test_scale_and_zero_columns_change_nothing(scale: float, column: int) -> None:
    train, test = (
        np.insert(rows, column, 0, axis=1) * np.float32(scale) for rows in (BASE.train, BASE.test)
    )
    # norm + 1e-5 leaves a trace of the scale of features whose norm is about 5
    assert_close(scores_of(train, test, BASE.train_labels[:, 0]))


def test_equal_images_tie_exactly() -> None:
    data = with_duplicates(Recipe(dimensions=150, seed=3))
    fits = machine(data).engine.fit(
        np.where(data.train_labels.T == 1, 1, -1).astype(np.int8)[:1], COSTS, keep, on_test=True
    )
    np.testing.assert_array_equal(fits.grades[..., 40:60], fits.grades[..., :20])


def test_the_result_does_not_depend_on_how_problems_are_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Batched until the costs are large, sooner on blocks of near rows, or all on blocks."""
    data = make(Recipe(rows=150, dimensions=60, classes=3))
    found = []
    for rows, share in ((0, 0.0), (0, 0.5), (10**6, 0.0)):
        machines._engine.cache_clear()
        monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", rows)
        monkeypatch.setattr(newton, "COMPACT_SHARE", share)
        found.append(evaluate_full(machine(data), FEW_COSTS))
    for other in found[1:]:
        np.testing.assert_allclose(other.cv_ap, found[0].cv_ap, atol=1e-3)
        assert other.cost == found[0].cost


def test_several_threads_and_processes_find_what_one_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = make(Recipe(rows=150, dimensions=60, classes=3))
    found = []
    for count, rows in ((1, 0), (2, 0), (3, 0), (2, 10**6)):
        monkeypatch.setenv("OMP_NUM_THREADS", str(count))
        monkeypatch.setattr("benchmarks.svm.solver.batch.GROUP", 2)
        monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", rows)
        found.append(evaluate_full(machine(data), FEW_COSTS))
    for other in found[1:]:
        np.testing.assert_allclose(other.cv_ap, found[0].cv_ap, atol=1e-3)
        np.testing.assert_allclose(other.ap, found[0].ap, atol=1e-3)


def test_little_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems are solved a few at a time, and wait for their refit as ever."""
    monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", 0)
    data = make(Recipe(rows=150, dimensions=60, classes=3))
    whole = evaluate_full(machine(data), FEW_COSTS)
    monkeypatch.setattr("benchmarks.svm.gram.MOST_BYTES", 4 * 150 * gram.BYTES)
    parts = evaluate_full(machine(data), FEW_COSTS)
    np.testing.assert_allclose(parts.cv_ap, whole.cv_ap, atol=1e-9)
    np.testing.assert_allclose(parts.ap, whole.ap, atol=1e-9)
    assert parts.cost == whole.cost
    assert parts.convergence["newton_steps"] > 0


def test_what_rounding_may_have_moved_is_graded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the Gram matrix in fp32, and every grade doubted, none is off by what that rounds."""
    monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", 0)
    data = make(Recipe(rows=300, dimensions=80, classes=3, decay=1.5))
    exact = evaluate_full(machine(data), FEW_COSTS)
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.gram.DOUBT", -1.0)
    machines._engine.cache_clear()
    again: list[int] = []
    original = gram.GramEngine._grade_again

    def counted(self: Any, problems: Any, places: Any, *others: Any) -> tuple[int, int]:
        again.append(len(places))
        return original(self, problems, places, *others)

    monkeypatch.setattr(gram.GramEngine, "_grade_again", counted)
    found = evaluate_full(machine(data), FEW_COSTS)
    machines._engine.cache_clear()
    assert again == [3 * FEW_COSTS.folds * len(FEW_COSTS.costs)]
    np.testing.assert_allclose(found.cv_ap, exact.cv_ap, atol=1e-3)
    assert found.cost == exact.cost


def test_a_refit_on_many_rows_is_refined_on_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with many images, where the Gram matrix is kept in fp32 only."""
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", 0)
    monkeypatch.setattr(newton, "COMPACT_SHARE", 0.0)
    data = make(Recipe(rows=400, dimensions=60, classes=1, decay=1.0))
    labels = np.where(data.train_labels.T == 1, 1, -1).astype(np.int8)
    machines._engine.cache_clear()
    fits = machine(data).engine.fit(labels, np.array([[1.0]]), keep, on_test=True)
    tight = LinearSVC(C=1.0, class_weight={1: 2, -1: 1}, tol=1e-10, max_iter=10**7, random_state=0)
    tight.fit(normalise(data.train, 1e-5), labels[0])
    expected = tight.decision_function(normalise(data.test, 1e-5))
    found = fits.grades[0, 0] - fits.grades[0, 0].mean()
    assert np.abs(found - (expected - expected.mean())).max() < 3e-7 * expected.std()
    machines._engine.cache_clear()


def test_features_that_are_nearly_their_mean_are_solved_by_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of an untrained trunk: sums in fp32 are rough there, and costs of 10 and 100 need many."""
    data = make(Recipe(rows=600, dimensions=80, classes=2, decay=1.0))
    flat = layer_data(
        5 + 0.02 * data.train, 5 + 0.02 * data.test, data.train_labels, data.test_labels
    )
    labels = np.where(flat.train_labels.T == 1, 1, -1).astype(np.int8)
    costs = np.tile([0.5**4, 1.0, 10.0, 100.0], (2, 1))
    found = []
    for direct_rows in (0, 10**6):
        monkeypatch.setattr("benchmarks.svm.solver.block_solver.DIRECT_ROWS", direct_rows)
        machines._engine.cache_clear()
        fits = machine(flat).engine.fit(labels, costs, keep, on_test=True)
        assert not fits.unsolved.any()
        found.append(fits.grades - fits.grades.mean(-1, keepdims=True))
    np.testing.assert_allclose(*found, atol=2e-5 * found[0].std())


# Honesty.


def test_what_gram_leaves_unsolved_goes_to_liblinear_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = make(Recipe(rows=80, dimensions=40, classes=2))
    original = batch.solve

    def forgetful(*args: Any) -> batch.Report:
        report = original(*args)
        report.residual[0, 1] = 1.0
        return report

    labels = np.where(data.train_labels.T == 1, 1, -1).astype(np.int8)
    costs = np.tile([0.5**10, 0.25], (2, 1))
    monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", 0)
    expected = machine(data).engine.fit(labels, costs, keep, on_test=True).grades
    monkeypatch.setattr(batch, "solve", forgetful)
    fitted = machine(data)
    fits = fitted.fit(labels, costs, keep, data.classes, on_test=True)
    assert "did not converge on 1 problem(s)" in fitted.notes[0]
    assert "class0 at cost 0.25" in fitted.notes[0]
    assert fits.unsolved.sum() == 1
    centred = [scores - scores.mean(-1, keepdims=True) for scores in (fits.grades, expected)]
    np.testing.assert_allclose(centred[0], centred[1], atol=1e-4)


def test_liblinear_says_when_it_stops_early() -> None:
    data = make(Recipe(rows=80, dimensions=12, classes=1))
    engine = LiblinearEngine(
        data.train, data.test, epsilon=1e-5, positive_weight=2.0, seed=0, max_iterations=3
    )
    labels = np.where(data.train_labels.T == 1, 1, -1).astype(np.int8)
    assert engine.fit(labels, np.array([[100.0]]), keep, on_test=True).unsolved.all()


@pytest.mark.parametrize(("value", "kind"), [(0, "positives"), (1, "negatives")])
def test_a_class_too_small_for_the_folds_is_one_clear_error(value: int, kind: str) -> None:
    data = make(Recipe(rows=60))
    data.train_labels[2:, 1] = value
    data.train_labels[:2, 1] = 1 - value
    with pytest.raises(UserError, match=f"class1 has 2 {kind}"):
        evaluate_full(machine(data), FEW_COSTS)


def test_a_class_without_test_positives_is_one_clear_error() -> None:
    data = make(Recipe(rows=60))
    data.test_labels[:, 2] = 0
    with pytest.raises(UserError, match="class2 has no positives in test"):
        evaluate_full(machine(data), FEW_COSTS)


def test_the_same_threads_give_the_same_bits() -> None:
    data = make(Recipe(rows=120, classes=3))
    found = []
    for _ in range(2):
        machines._engine.cache_clear()
        found.append(evaluate_full(machine(data), FEW_COSTS))
    assert found[0] == found[1]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As with tens of thousands of images, of whose products none is kept."""
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.solver.rows.MANY_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.solver.block.STRIP", 70)
    monkeypatch.setattr("benchmarks.svm.solver.kernel.BLOCK", 90)
    machines._engine.cache_clear()
    yield
    machines._engine.cache_clear()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("small", "share"), [(0, 0.2), (0, 0.0), (10**6, 0.2)])
@pytest.mark.parametrize("decay", [0.4, 1.5])
def test_products_that_are_not_kept_change_nothing(
    small: int, share: float, decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batched until the costs are large, or all on blocks; against products that are kept."""
    monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", small)
    monkeypatch.setattr(newton, "COMPACT_SHARE", share)
    data = make(Recipe(rows=400, dimensions=30, classes=3, decay=decay))
    engine = machine(data).engine
    assert isinstance(engine, gram.GramEngine)
    assert engine.kernel.gram is None
    found = evaluate_full(machine(data), FEW_COSTS)
    monkeypatch.undo()
    machines._engine.cache_clear()
    expected = evaluate_full(machine(data), FEW_COSTS)
    np.testing.assert_allclose(found.cv_ap, expected.cv_ap, atol=1e-3)
    np.testing.assert_allclose(found.ap, expected.ap, atol=1e-6)
    assert found.cost == expected.cost


@pytest.mark.usefixtures("narrow")
def test_scores_without_products_are_linear_svcs(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a cost where the system of the features decides, from rows that come and go."""
    monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", 0)
    data = make(Recipe(rows=500, dimensions=40, classes=1, decay=1.0))
    labels = np.where(data.train_labels.T == 1, 1, -1).astype(np.int8)
    costs = np.array([[0.1, 1.0, 100.0]])
    fits = machine(data).engine.fit(labels, costs, keep, on_test=True)
    assert not fits.unsolved.any()
    for cost, scores in zip(costs[0], fits.grades[0]):
        tight = LinearSVC(C=cost, class_weight={1: 2, -1: 1}, tol=1e-10, max_iter=10**7)
        tight.fit(normalise(data.train, 1e-5), labels[0])
        expected = tight.decision_function(normalise(data.test, 1e-5))
        away = (scores - scores.mean()) - (expected - expected.mean())
        assert np.abs(away).max() < 1e-5 * expected.std()  # of products that are kept 4e-4


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("decay", [0.4, 2.5])
def test_a_refit_of_narrow_rows_is_solved_at_any_cost(
    decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where gradients in fp32 do not get there, which end after one step here."""
    monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", 0)
    monkeypatch.setattr(newton, "REFINING_STEPS", 1)
    data = make(Recipe(rows=700, dimensions=20, classes=2, decay=decay))
    labels = np.where(data.train_labels.T == 1, 1, -1).astype(np.int8)
    fits = machine(data).engine.fit(labels, np.full((2, 1), 1000.0), keep, on_test=True)
    assert not fits.unsolved.any()
    for own, scores in zip(labels, fits.grades[:, 0]):
        tight = LinearSVC(C=1000.0, class_weight={1: 2, -1: 1}, tol=1e-10, max_iter=10**7)
        tight.fit(normalise(data.train, 1e-5), own)
        expected = tight.decision_function(normalise(data.test, 1e-5))
        away = (scores - scores.mean()) - (expected - expected.mean())
        assert np.abs(away).max() < 1e-5 * expected.std()


def test_grades_that_are_not_found_exactly_are_unsolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worse grade must not take the place of a doubted one; liblinear solves the problem."""
    monkeypatch.setattr("benchmarks.svm.gram.SMALL_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.solver.rows.EXACT_ROWS", 0)
    monkeypatch.setattr("benchmarks.svm.gram.DOUBT", -1.0)
    machines._engine.cache_clear()
    refine = gram.GramEngine._refine

    def failing(engine: Any, problems: Any, dual: Any) -> Any:
        dual, value, report = refine(engine, problems, dual)
        if problems.refined == gram.GRADED:
            report.residual[::2] = 1e-2
        return dual, value, report

    monkeypatch.setattr(gram.GramEngine, "_refine", failing)
    data = make(Recipe(rows=150, dimensions=60, classes=1))
    engine = machine(data)
    found = evaluate_full(engine, FEW_COSTS)
    machines._engine.cache_clear()
    monkeypatch.undo()
    assert any("solved by liblinear instead" in note for note in engine.notes)
    np.testing.assert_allclose(
        found.cv_ap, evaluate_full(machine(data), FEW_COSTS).cv_ap, atol=1e-3
    )
    machines._engine.cache_clear()
