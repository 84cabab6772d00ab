"""Items that another version of the project stored."""

import sys
from pathlib import Path

import pytest

from slurm.errors import UserError
from slurm.stored.pickles import dump_item, load_item


def test_a_class_that_is_gone_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "older_version.py").write_text("class Work:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import older_version  # type: ignore[import-not-found]

    content = dump_item(older_version.Work())
    assert type(load_item(content)) is older_version.Work
    monkeypatch.delattr(older_version, "Work")
    with pytest.raises(UserError, match=r"Work.*start its command again"):
        load_item(content)
    monkeypatch.delitem(sys.modules, "older_version")
    (tmp_path / "older_version.py").unlink()
    with pytest.raises(UserError, match="No module named 'older_version'"):
        load_item(content)


@pytest.mark.parametrize("changed", ["Trunk", "Work"])
def test_a_class_that_has_more_fields_now_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Pickle makes objects without their `__init__`, which would miss the field."""
    before = "".join(
        f"@dataclass(frozen=True)\nclass {name}:\n    {field}: {kind}\n"
        for name, field, kind in (("Trunk", "arch", "str"), ("Work", "trunks", "tuple"))
    )
    now = before.replace(f"class {changed}:\n", f"class {changed}:\n    crops: int\n")
    source = "from dataclasses import dataclass, field\n"
    module = tmp_path / "grown_version.py"
    module.write_text(source + before)
    monkeypatch.syspath_prepend(str(tmp_path))
    import grown_version  # type: ignore[import-not-found]

    content = dump_item(grown_version.Work((grown_version.Trunk("resnet18"),)))
    exec(source + now, vars(grown_version))
    with pytest.raises(UserError, match=r"'crops'\): another version.*start its command again"):
        load_item(content)
    default = before.replace(
        f"class {changed}:\n",
        f"class {changed}:\n    crops: int = field(default=1, kw_only=True)\n",
    )
    exec(source + default, vars(grown_version))
    assert load_item(content).trunks[0].arch == "resnet18"  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, "grown_version")
