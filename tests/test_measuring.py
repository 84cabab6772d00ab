"""That the scripts of tests/perf which no other test calls still run, on the smallest sizes."""

import json
from pathlib import Path

from tests.processes import ROOT, run

SMALL = {
    "--rows": 300,
    "--width": 32,
    "--pca": 8,
    "--batch": 4,
    "--side": 32,
    "--steps": 25,  # images enough for the script's hundred clusters
    "--rounds": 1,
    "--whole-rows": 300,
    "--clusters": 20,
    "--threads": 1,
}


def test_deepclusters_speed_is_measured(tmp_path: Path) -> None:
    words = [str(word) for pair in SMALL.items() for word in pair]
    found = tmp_path / "found.json"
    program = [ROOT / "tests/perf/deepcluster.py", *words, "--json", found]
    done = run(*program)
    assert done.returncode == 0, done.stderr
    measured = json.loads(found.read_text())
    assert measured["training"]["step_of_bare"] > 0
    assert measured["whitening"]["times_as_fast_as_faiss"] > 0
    assert measured["whole"]["clusters_used"] == 20
