"""Write the differences of docs/demo/README.md from the demo's records and what was proved of them.

python tests/perf/demo.py            # rewrites what stands between the two markers
python tests/perf/demo.py --check    # exit 1 when the page is stale
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.perf.pages import between, renew  # noqa: E402

DEMO = ROOT / "docs/demo"
PAGE = DEMO / "README.md"
BEGIN, END = "<!-- demo -->\n", "<!-- /demo -->\n"
OURS, RANDOM = "deepcluster-digits", "random-sobel_resnet18"
TABLES = {
    "ImageNet": ("imagenet_linear", "imagenet_avgpool"),
    "Places205": ("places205_linear",),
    "iNaturalist": ("inaturalist18_linear",),
}
COLUMNS = (*(f"feature{stage}" for stage in range(1, 6)), "avgpool")


def record(name: str, benchmark: str) -> dict[str, Any]:
    """The one record of a checkpoint."""
    (path,) = (DEMO / "results" / name / benchmark).glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def top1(name: str, benchmarks: tuple[str, ...]) -> dict[str, float]:
    """By column, percent."""
    heads = [record(name, benchmark)["heads"] for benchmark in benchmarks]
    return {column: head["top1"] for one in heads for column, head in one.items()}


def differences() -> Iterator[str]:
    """DeepCluster less the random trunk, of the records here."""
    titles = [column.capitalize().replace("pool", "Pool") for column in COLUMNS]
    yield "DeepCluster less the random trunk with the Sobel stem, top-1, of the records here:"
    yield ""
    yield f"| | {' | '.join(titles)} |"
    yield "| --- " * (len(COLUMNS) + 1) + "|"
    for table, benchmarks in TABLES.items():
        ours, random = (top1(name, benchmarks) for name in (OURS, RANDOM))
        cells = [f"{ours[x] - random[x]:+.1f}" if x in ours else "" for x in COLUMNS]
        yield f"| {table} | {' | '.join(cells)} |"
    yield ""
    best = [
        max(layer["map"] for layer in record(name, "voc07_svm")["layers"].values())
        for name in (OURS, RANDOM)
    ]
    ours, other = (f"{one:.1f}" for one in best)
    yield f"The SVM on VOC07 has {ours} mAP at its best layer, the random trunk's {other}."


def variants() -> Iterator[str]:
    """What `make prove-demo` found."""
    found = json.loads((ROOT / "tests/perf/results/demo-wins.json").read_text())
    yield "| Demo | ahead | closest | points | at least | compared | not ahead in |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, one in found.items():
        yield (
            f"| {name} | {one['beyond_noise']} of {one['asked']} | {one['closest']} | "
            f"{one['closest_difference']:+.1f} | {one['closest_low']:+.1f} | {one['all']} | "
            f"{'; '.join(one['not_won'])} |"
        )
    yield ""
    yield (
        "Of `make prove-demo`: ahead is a column of Feature2 to Feature5 or AvgPool whose paired "
        '95 % interval leaves out 0; "at least" is the low end of the closest one\'s; the last '
        "column is of those that were compared, of the demo's 25: of the others a figure had no "
        "outcomes."
    )


def fresh(page: str) -> str:
    """`page` with its figures written anew."""
    parts = ("\n".join(lines) for lines in (differences(), variants()))
    return between(page, BEGIN, END, parts)


if __name__ == "__main__":
    renew(PAGE, fresh, "tests/perf/demo.py", __doc__)
