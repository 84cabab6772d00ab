"""What a probe's record says of the images that it was measured on."""

import shutil
from pathlib import Path

from benchmarks.catalog.records import read_record
from tests.benchmarks.probes.test_stops import make_item
from tests.conftest import write_image_folders


def test_the_record_notes_what_of_the_data_was_not_used(tmp_path: Path) -> None:
    folder = write_image_folders(tmp_path / "imagenet", train=4, val=2)
    shutil.rmtree(folder / "meta")
    for name in ("a.gif", "b.gif", "c.heic"):
        next((folder / "train").iterdir()).joinpath(name).write_bytes(b"GIF89a")
    shutil.rmtree(sorted((folder / "val").iterdir())[-1])
    item = make_item(tmp_path / "zoo", folder, epochs=1, milestones=())
    item.run()
    passed, lacking = read_record(item.result).notes
    assert passed.startswith("passed over in train, of which only files")
    assert passed.endswith("2 .gif, 1 .heic")
    assert lacking == "val has images of 2 of the 3 classes of train"
