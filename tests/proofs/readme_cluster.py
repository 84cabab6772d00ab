"""The README's section "On a cluster", followed to the letter on a real SLURM of three nodes.

    python tests/proofs/readme_cluster.py --json FILE      # half an hour on 2 cores

The nodes have eight fake GPUs and the partitions that the section names. Its TOML file and its
commands are taken from README.md and run as they stand there, for three checkpoints named A, B and
C (untrained resnet10t of different seeds) on the demo's images; the lists of the three
classification sets are cut to a few images, since the protocols are the published ones with their
90, 100, 28 and 84 epochs. While probes run, a job of a higher partition preempts what runs. At the
end every record must be there, and a probe must have continued from its saved state.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.slurm.cluster import Cluster  # noqa: E402

IMAGES = 24  # of each list of the classification sets
LISTS = (
    "imagenet/meta/*.txt",
    "inaturalist2018/meta/*.txt",
    "places205/trainvalsplit_places205/*.csv",
)
BENCHMARKS = 6
WEIGHTS = """
import sys, timm, torch
from safetensors.torch import save_file
for seed, path in enumerate(sys.argv[1:]):
    torch.manual_seed(seed)
    save_file(timm.create_model("resnet10t").state_dict(), path)
"""


class Shell:
    """Runs the README's lines in a folder, in the environment of the cluster."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder = folder
        environment = cluster.environment
        self.environment = environment | {
            "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"
        }
        self.environment.pop("ZOO", None)

    def run(self, line: str) -> str:
        """What a line prints on stdout; it must succeed."""
        print(f"$ {line}", flush=True)
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        print(done.stdout, end="", flush=True)
        return done.stdout


def section() -> tuple[str, list[str]]:
    """The TOML file and the commands of the README's section."""
    text = (ROOT / "README.md").read_text().split("## On a cluster")[1].split("\n## ")[0]
    (settings,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split(" #")[0].strip() for line in commands.replace("\\\n", " ").splitlines()]
    return settings, [line for line in lines if line]


def prepare(shell: Shell, settings: str) -> None:
    """What a user has: a TOML file, data sets and three registered checkpoints."""
    (shell.folder / "cluster.toml").write_text(settings)
    shell.run("python -m benchmarks.datasets.digits data")
    for pattern in LISTS:
        for path in (shell.folder / "data").glob(pattern):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(lines[:: max(1, len(lines) // IMAGES)]))
    names = ["A", "B", "C"]
    files = [f"{name}.safetensors" for name in names]
    subprocess.run(
        [sys.executable, "-c", WEIGHTS, *files], cwd=shell.folder, check=True, env=shell.environment
    )
    for name, file in zip(names, files):
        shell.run(f"python -m benchmarks.registry add {file} --name {name} --arch resnet10t")


def follow(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """Run the section; what was seen."""
    shell = Shell(folder, cluster)
    settings, (suite, listing, status, resume, cancel) = section()
    prepare(shell, settings)
    began = time.monotonic()
    shell.run(suite)
    (run,) = (path.name for path in (folder / "zoo" / "runs").iterdir())
    assert run in shell.run(listing)

    def on(line: str) -> str:
        return shell.run(line.replace("RUN", run))

    on(status)
    while not list((folder / "zoo").glob("state/**/*.pt")):
        time.sleep(1)
    shell.run("sbatch -p hi -N3 --exclusive -o /dev/null --wrap='sleep 5'")
    time.sleep(60)
    on(status)
    on(cancel)
    assert "cancelled" in on(listing) + on(status)
    on(resume)
    on(status)
    records = [
        path for path in (folder / "zoo/results").glob("*/*/*.json") if "parts" not in path.parts
    ]
    logs = "".join(
        path.read_text(errors="replace") for path in (folder / "zoo/runs").rglob("*_log.*")
    )
    return {
        "commands": [suite, listing, status, resume, cancel],
        "seconds": round(time.monotonic() - began),
        "records": len(records),
        "probes_continued": len(re.findall(r"continues at epoch", logs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write what was seen here")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here, and leave it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="readme-") as scratch:
        base = args.keep or Path(scratch)
        for name in ("slurm", "user"):
            (base / name).mkdir(parents=True)
        cluster = Cluster(base / "slurm", slots=8)
        cluster.start()
        try:
            seen = follow(cluster, base / "user")
        finally:
            cluster.stop()
    print(json.dumps(seen, indent=1))
    if seen["records"] != 3 * BENCHMARKS or not seen["probes_continued"]:
        sys.exit("not every record is there, or no probe was continued")
    if args.json:
        args.json.write_text(json.dumps(seen, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
