"""The import direction is the architecture: a package imports only what stands below it."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The order of the house, from the ground up: a file imports from its own line and from those
# above it. A line names a room (a folder), or files of a folder whose other files stand elsewhere.
HOUSE = """
slurm: cli distributed errors failures files leftovers outputs progress stop streams sweep threads
slurm.scheduler
slurm.stored
slurm: runs
slurm.tasks
slurm.launch
slurm: executor __main__
benchmarks.flags
benchmarks: devices input_files metrics overrides protocols results whole_files
benchmarks.outcomes
benchmarks.datasets.reading
benchmarks.datasets
benchmarks.images
benchmarks.backbones
benchmarks.checkpoints: cards file_format formats weights wording
benchmarks.checkpoints.pickled
benchmarks.checkpoints.vit
benchmarks.checkpoints.openmmlab
benchmarks.checkpoints.finding
benchmarks.checkpoints
benchmarks: trunks
benchmarks.datasets: __main__
benchmarks.features
benchmarks.probes
benchmarks.svm.solver
benchmarks.svm
benchmarks.knn
benchmarks.logreg
benchmarks.catalog: benchmark columns images imagenet_linear imagenet_avgpool
benchmarks.catalog.further
benchmarks.catalog
benchmarks.quick
benchmarks.rehearsal
benchmarks: commands
benchmarks.registering
benchmarks: linear_probe low_shot_svm registry voc_svm
benchmarks.knn: __main__
benchmarks.logreg: __main__
benchmarks: suite __main__
pretrain: image_checks images only_run other_states plan recipe_checks recipe_flags
pretrain.deepcluster.clusters
pretrain.deepcluster.watching
pretrain.deepcluster
pretrain
reports: contradictions
reports.clashes
reports: collect costs seeds
reports: differing document footnotes layers measured published tables
reports.pictures: style
reports.confidence
reports.pictures
reports.comparison
reports.formats
reports.pages
reports
"""
MAY_IMPORT = {
    "slurm": {"slurm"},
    "benchmarks": {"slurm", "benchmarks"},
    "pretrain": {"slurm", "benchmarks", "pretrain"},
    "reports": {"slurm", "benchmarks", "reports"},
}
MOST_FILES = 15  # of a folder
MOST_LINES = 300  # of a file
MEDIAN_LINES = 150

SOURCES = [
    path
    for package in MAY_IMPORT
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name != "__init__.py"
]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {module_name(path): path for path in SOURCES}


def imported_modules(tree: ast.AST) -> set[str]:
    """All that a file imports anywhere: in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


IMPORTS = {name: imported_modules(ast.parse(path.read_text())) for name, path in MODULES.items()}
ARROWS = {name: found & MODULES.keys() - {name} for name, found in IMPORTS.items()}


def floors() -> dict[str, int]:
    """The line of `HOUSE` on which each file stands."""
    found: dict[str, int] = {}
    rooms: dict[str, int] = {}
    for number, line in enumerate(HOUSE.split("\n")):
        room, _, files = line.partition(":")
        found |= {f"{room}.{file}": number for file in files.split()}
        rooms |= {room: number} if not files else {}
    for name in MODULES:
        found.setdefault(name, rooms.get(name.rpartition(".")[0], -1))
    return found


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """The modules from which the arrows lead back to themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = arrows[ahead.pop()] - seen
            seen |= new
            ahead += new
        return seen

    return sorted(name for name in arrows if name in reached(name))


def test_every_file_has_its_place_in_the_house() -> None:
    assert [name for name, floor in floors().items() if floor < 0] == []
    assert floors().keys() == MODULES.keys(), "the house names files that are not there"


@pytest.mark.parametrize("name", MODULES)
def test_arrows_point_downwards(name: str) -> None:
    ours = {target.split(".")[0] for target in IMPORTS[name]} & MAY_IMPORT.keys()
    assert ours <= MAY_IMPORT[name.split(".")[0]]
    place = floors()
    assert [target for target in ARROWS[name] if place[target] > place[name]] == []


def test_imports_make_no_circle() -> None:
    assert circles(ARROWS) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


def test_lazy_imports_and_those_for_types_count() -> None:
    program = "if TYPE_CHECKING:\n    import a.b\ndef f():\n    from c import d\n"
    assert imported_modules(ast.parse(program)) == {"a.b", "c", "c.d"}


def test_rooms_and_files_stay_small() -> None:
    folders = Counter(path.parent for path in SOURCES)
    assert [folder for folder, files in folders.items() if files > MOST_FILES] == []
    lines = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert [path for path, count in lines.items() if count > MOST_LINES] == []
    assert median(lines.values()) < MEDIAN_LINES


def test_package_inits_are_empty() -> None:
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("__init__.py"):
            assert not path.read_text().strip(), path


def test_no_other_package_stands_at_the_top() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "*.py"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.split("/")[0] for name in listed} <= {*MAY_IMPORT, "tests"}


def test_only_one_file_knows_submitit() -> None:
    users = [name for name, found in IMPORTS.items() if "submitit" in found]
    assert users == ["slurm.launch.submission"]


@pytest.mark.parametrize(
    "module",
    ["benchmarks.results", "benchmarks.checkpoints.cards", "benchmarks.suite", "reports.__main__"],
)
def test_planning_and_reports_need_no_torch(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


COMMANDS = (
    "pretrain",
    "pretrain deepcluster",
    "pretrain rotation",
    "pretrain.deepcluster.show",
    "benchmarks",
    "benchmarks.registry",
    "benchmarks.linear_probe",
    "benchmarks.voc_svm",
    "benchmarks.low_shot_svm",
    "benchmarks.knn",
    "benchmarks.logreg",
    "benchmarks.datasets",
    "benchmarks.datasets check",
    "benchmarks.features",
    "benchmarks.features remove",
    "reports",
    "reports compare",
    "reports reproduce",
    "slurm",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_without_heavy_imports(command: str) -> None:
    """`--help` in under 0.4 s means: none of the packages that take longer to import."""
    module, *rest = command.split()
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['x', *{rest!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop:\n"
        "    heavy = {'torch', 'sklearn', 'faiss', 'timm', 'scipy', 'matplotlib', 'submitit'}\n"
        "    print('heavy:', sorted(heavy & set(sys.modules)), 'exit:', stop.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "heavy: [] exit: 0" in done.stdout, done.stdout + done.stderr
    assert "usage:" in done.stdout
