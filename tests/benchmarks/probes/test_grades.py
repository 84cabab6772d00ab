import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.metrics import topk_correct, true_ranks, wrong_rank
from benchmarks.probes.grades import Grades, stored

LOGITS = st.sampled_from([0.0, 1.0, 2.0, -1.0, float("nan"), float("inf")])


@given(st.integers(1, 7).flatmap(lambda n: st.lists(LOGITS, min_size=n, max_size=n)), st.data())
def test_the_rank_is_what_a_stable_sort_says(row: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(row) - 1))
    found = int(true_ranks(torch.tensor([row]), torch.tensor([label])))
    if any(value != value for value in row):
        assert found == wrong_rank(len(row))
        return
    order = sorted(range(len(row)), key=lambda index: (-row[index], index))
    assert found == order.index(label)


def test_top_k_are_those_of_topk_where_no_logits_tie() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(500, 10), torch.randint(10, (500,))
    grades = Grades(["avgpool"], torch.device("cpu"))
    for start in range(0, 500, 64):
        grades.add("avgpool", logits[start : start + 64], labels[start : start + 64])
    expected = topk_correct(logits, labels, (1, 5))
    assert grades.percent(500) == {"avgpool": tuple(count / 5 for count in expected.tolist())}
    ranks, predicted = grades.outcomes(500, 0, 1)["avgpool"]
    assert (predicted == logits.argmax(1)).all()
    assert ((ranks == 0) == (predicted == labels)).all()


@pytest.mark.parametrize(("largest", "kind"), [(32767, np.int16), (65536, np.int32)])
def test_no_rank_is_cut_to_a_smaller_one(largest: int, kind: type) -> None:
    both = torch.tensor([[0, largest], [7, 8]], dtype=torch.int32)
    found = stored({"avgpool": both})
    assert found["avgpool.rank"].dtype == kind
    assert found["avgpool.rank"].tolist() == [0, largest]
    assert found["avgpool.predicted"].tolist() == [7, 8]
