"""What the command does: read once, render what is asked for, write or check."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from reports import document, exports, metadata, readme
from reports.collect import Collection, collect
from reports.measured import Measured, measured_tables
from reports.pictures import Picture, pictures
from reports.published import (
    Published,
    load,
    published_sections,
    published_tables,
    select,
)
from reports.tables import KINDS, safe_link
from reports.tables import link as markdown_link
from slurm.errors import UserError
from slurm.files import write_bytes
from slurm.outputs import write_output

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = "results.json"
PROVED_BLOCKS = ("all", *KINDS, "compare")  # with cells, whose records results.json names
BLOCKS = (*PROVED_BLOCKS, "pictures", "published")


class Report:
    """One run of `python -m reports`; `args` are its flags."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.target: Path | None = args.readme

    @cached_property
    def collection(self) -> Collection:
        """The records of the zoo; files that were left out are named on stderr."""
        found = collect(self.args.zoo, self.args.ckpt, self.args.skip_invalid)
        for line in found.skipped:
            print(f"left out: {line}", file=sys.stderr)
        return found

    @cached_property
    def measured(self) -> list[Measured]:
        """The tables of the zoo."""
        return measured_tables(
            self.collection,
            seeds=self.args.seeds,
            link=lambda config: link_target(config, self.target),
        )

    @cached_property
    def published(self) -> Published:
        """The published reference figures."""
        return load()

    @cached_property
    def pictures(self) -> list[Picture]:
        """The pictures of the zoo, not yet drawn."""
        return pictures(self.measured, self.collection)

    def listing(self) -> None:
        """Print the tables in the chosen format, and write the page and the pictures."""
        if self.args.published:
            text = self._published_listing()
        elif self.args.compare:
            text = self._block("compare") + "\n"
        else:
            text = self._measured_listing()
        self._write_extras()
        sys.stdout.write(text)

    def readme(self) -> None:
        """Write the README, or check it; print its blocks or the differences."""
        path: Path = self.args.readme
        old = readme.read(path)
        content = readme.NEW_DOCUMENT.encode() if old is None else old
        blocks = readme.find_blocks(content, BLOCKS, path)
        if not blocks:
            raise UserError(
                f"{path} has no markers: add the lines <!-- reports:all --> and "
                "<!-- /reports:all --> where the tables belong"
            )
        names = list(dict.fromkeys(block.name for block in blocks))
        texts = {name: self._block(name) for name in names}
        new = readme.inject(content, blocks, texts, path)
        proof = None
        if set(names) & set(PROVED_BLOCKS):
            proof = exports.to_json(self.collection, self.measured, self.args.seeds, path.parent)
        if self.args.check:
            self._check(path, old, new, proof)
            return
        self._write_extras()
        if proof is not None and _stale(path.parent / RESULTS, proof):
            write_bytes(path.parent / RESULTS, proof)
        if new != old:
            readme.write(path, new)
        if self.args.format == "markdown":
            sys.stdout.write("\n\n".join(texts.values()) + "\n")
        else:
            sys.stdout.write(self._measured_listing())

    def _block(self, name: str) -> str:
        bold, seeds = self.args.bold, self.args.seeds
        if name == "published":
            return published_sections(self.published, self.args.only, bold)
        if name == "compare":
            from reports.compare import comparison

            only = select(self.published, self.args.only) if self.args.only else ()
            return comparison(self.measured, self.published, self.collection.cards, only)
        if name == "pictures":
            return self._picture_links()
        if name == "all":
            links = self._picture_links() if self.args.plots else ""
            text = document.everything(self.measured, links, seeds=seeds, bold=bold)
            return self._with_proof(text)
        tables = [item for item in self.measured if item.kind.key == name]
        return self._with_proof(document.measured_sections(tables, seeds=seeds, bold=bold))

    def _with_proof(self, text: str) -> str:
        if self.target is None:
            return text
        return f"{text}\n\nThe records behind every cell: [{RESULTS}]({RESULTS})."

    def _measured_listing(self) -> str:
        tables = [item.table for item in self.measured]
        formats: Mapping[str, Callable[[], str]] = {
            "markdown": lambda: self._block("all") + "\n",
            "csv": lambda: exports.to_csv(tables),
            "latex": lambda: exports.to_latex(tables, self.args.bold),
            "metafile": lambda: metadata.to_metafile(self.measured, self.collection.cards),
            "model-index": lambda: metadata.to_model_index(self.measured),
            "json": lambda: exports.to_json(
                self.collection, self.measured, self.args.seeds, Path()
            ).decode(),
        }
        return formats[self.args.format]()

    def _published_listing(self) -> str:
        tables = published_tables(self.published, select(self.published, self.args.only))
        formats: Mapping[str, Callable[[], str]] = {
            "markdown": lambda: self._block("published") + "\n",
            "csv": lambda: exports.to_csv(tables),
            "latex": lambda: exports.to_latex(tables, self.args.bold),
        }
        if self.args.format not in formats:
            raise UserError(
                f"--published has no --format {self.args.format}: use {', '.join(formats)}"
            )
        return formats[self.args.format]()

    def _picture_links(self) -> str:
        if self.args.plots is None:
            raise UserError("the block pictures needs the folder of the pictures: add --plots DIR")
        base = self.target.parent if self.target else Path()
        links = []
        for picture in self.pictures:
            where = os.path.relpath(self.args.plots.resolve() / picture.name, base.resolve())
            links.append("!" + markdown_link(picture.alt, f"{_url(where)}.svg"))
        return "\n\n".join(links) if links else document.NO_RESULTS

    def _write_extras(self) -> None:
        if self.args.plots is not None:
            from reports import plots

            plots.write(self.args.plots, self.pictures)
        if self.args.html is not None:
            from reports import html

            write_output(self.args.html, html.page(self.measured, self.pictures, self.args.seeds))

    def _check(self, path: Path, old: bytes | None, new: bytes, proof: bytes | None) -> None:
        problems = readme.difference(old or b"", new, path)
        results = path.parent / RESULTS
        if proof is not None and _stale(results, proof):
            problems += f"{results} is missing or stale\n"
        for picture in self.pictures if self.args.plots is not None else ():
            for suffix in (".svg", ".png"):
                file = self.args.plots / f"{picture.name}{suffix}"
                if not file.is_file():
                    problems += f"{file} is missing\n"
        if problems:
            sys.stdout.write(problems)
            sys.stdout.flush()
            print("stale; run the same command without --check", file=sys.stderr)
            raise SystemExit(1)


def link_target(config: str, target: Path | None) -> str | None:
    """Where the link of a config leads from the file `target` (None: from this repository).

    URLs of http(s) stay, others are no links. A file is linked relative to a `target` that lies in
    the same repository: this one, or another in which the path of the config leads to a file. A
    path that is no file there is no link, since it would be a dead one.
    """
    if safe_link(config) is None or "://" in config:
        return safe_link(config)
    if target is None:
        inside = _file_in(REPOSITORY, config)
        return None if inside is None else inside.relative_to(REPOSITORY).as_posix()
    target = target.resolve()
    for root in (REPOSITORY, *_repository_of(target), target.parent):
        inside = _file_in(root, config) if target.is_relative_to(root) else None
        if inside is not None:
            return _url(os.path.relpath(inside, target.parent))
    return None


def _file_in(root: Path, config: str) -> Path | None:
    """The file within `root` to which a path from there leads, if it leads to one."""
    try:
        inside = (root / config).resolve()
        return inside if inside.is_file() and inside.is_relative_to(root) else None
    except (OSError, RuntimeError):  # too long a name, a circle of links
        return None


def _repository_of(target: Path) -> list[Path]:
    """The root of the git repository that a file lies in, if it lies in one."""
    return [folder for folder in target.parents if (folder / ".git").exists()][:1]


def _url(path: str) -> str:
    return Path(path).as_posix()


def _stale(path: Path, proof: bytes) -> bool:
    """Whether `path` differs from `proof` in more than the times and hosts of the runs."""
    try:
        old = path.read_bytes()
    except OSError:
        return True
    return bool(exports.without_volatile(old) != exports.without_volatile(proof))
