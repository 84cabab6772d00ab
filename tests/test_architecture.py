"""The import direction is the architecture: a package imports only what stands below it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "slurm": {"slurm"},
    "benchmarks": {"slurm", "benchmarks"},
    "pretrain": {"slurm", "benchmarks", "pretrain"},
    "reports": {"slurm", "benchmarks", "reports"},
}
SOURCES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def top_level_imports(path: Path) -> set[str]:
    """What importing `path` imports at once: not inside functions or TYPE_CHECKING blocks."""
    tree = ast.parse(path.read_text())
    body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    plain = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return imported_modules(ast.Module(body=list(plain), type_ignores=[]))


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_package_imports_only_what_stands_below_it(path: Path) -> None:
    package = module_name(path).split(".")[0]
    ours = {name.split(".")[0] for name in imported_modules(ast.parse(path.read_text()))}
    assert ours & set(MAY_IMPORT) <= MAY_IMPORT[package]


def test_imports_make_no_cycle() -> None:
    modules = {module_name(path): path for path in SOURCES}
    edges = {
        name: {target for target in top_level_imports(path) if target in modules and target != name}
        for name, path in modules.items()
    }
    visiting: list[str] = []
    finished: set[str] = set()

    def visit(name: str) -> None:
        if name in finished:
            return
        assert name not in visiting, f"cycle: {' -> '.join([*visiting, name])}"
        visiting.append(name)
        for target in sorted(edges[name]):
            visit(target)
        visiting.pop()
        finished.add(name)

    for name in sorted(modules):
        visit(name)


def test_package_inits_are_empty() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            assert not path.read_text().strip(), path


def test_no_other_package_stands_at_the_top() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "*.py"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.split("/")[0] for name in listed} <= {*MAY_IMPORT, "tests"}


def test_only_one_file_knows_submitit() -> None:
    users = [
        path for path in SOURCES if "submitit" in imported_modules(ast.parse(path.read_text()))
    ]
    assert len(users) <= 1, users


@pytest.mark.parametrize(
    "module", ["benchmarks.results", "benchmarks.cards", "benchmarks.suite", "reports.__main__"]
)
def test_planning_and_reports_need_no_torch(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


COMMANDS = (
    "pretrain",
    "pretrain deepcluster",
    "benchmarks",
    "benchmarks.registry",
    "benchmarks.linear_probe",
    "benchmarks.voc_svm",
    "benchmarks.low_shot_svm",
    "reports",
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
