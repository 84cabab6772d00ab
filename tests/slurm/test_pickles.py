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
