"""What the command does: read once, render what is asked for, write or check."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from reports import document
from reports.checking import others_that_refer_to, stale_page, stale_pictures, stale_results
from reports.collect import Collection, collect, say_left_out
from reports.comparison.sections import Section, compare, to_markdown
from reports.costs import hours_by_row
from reports.formats import exports, latex, metadata
from reports.measured import Measured, measured_tables
from reports.pages import readme
from reports.pages.links import link_target, relative_url
from reports.pictures.curves import pictures
from reports.pictures.shapes import Picture
from reports.published import (
    Published,
    load,
    published_sections,
    published_tables,
    select,
)
from reports.tables import KINDS
from reports.tables import link as markdown_link
from slurm.errors import UserError
from slurm.files import write_bytes
from slurm.outputs import write_output

RESULTS = "results.json"
PROVED_BLOCKS = ("all", *KINDS, "own", "compare")  # with cells, whose records results.json names
BLOCKS = (*PROVED_BLOCKS, "pictures", "published")


class Report:
    """One run of `python -m reports`; `args` are its flags."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.target: Path | None = args.readme

    @cached_property
    def collection(self) -> Collection:
        """The records of the zoo; files that were left out are named on stderr."""
        args = self.args
        found = collect(args.zoo, args.ckpt, args.skip_invalid, args.variant)
        say_left_out(found)
        return found

    @cached_property
    def measured(self) -> list[Measured]:
        """The tables of the zoo, with links for the README."""
        return self._measured_for(self.target)

    def _measured_for(self, target: Path | None, best: bool = False) -> list[Measured]:
        tables = measured_tables(
            self.collection,
            seeds=self.args.seeds,
            best=self.args.best or best,
            link=lambda config: link_target(config, target),
        )
        if not self.args.ci:
            return tables
        from reports.confidence.tables import with_intervals  # needs numpy

        return with_intervals(tables, self.collection)

    def _compared(self, target: Path | None) -> list[Section]:
        measured = self._measured_for(target, best=True)  # as the published figures are
        names = [*self.args.only, *(self.args.compare or [])]
        only = select(self.published, names) if names else ()
        return compare(measured, self.published, self.collection.cards, only, self.args.seeds)

    @cached_property
    def published(self) -> Published:
        """The published reference figures."""
        return load()

    @cached_property
    def pictures(self) -> list[Picture]:
        """The pictures of the zoo, not yet drawn."""
        if not self.args.ci:
            return pictures(self.measured, self.collection)
        from reports.confidence.bars import picture_bounds  # needs numpy

        bounds = picture_bounds(self.measured, self.collection)
        return pictures(self.measured, self.collection, bounds)

    def listing(self) -> None:
        """Print the tables in the chosen format, or write the page and the pictures."""
        text = self._listing() if self._prints else ""
        self._say(self._write_extras())
        sys.stdout.write(text)

    @property
    def _prints(self) -> bool:
        """Whether tables are printed: they are not beside files, but when a format is named."""
        args = self.args
        return args.format is not None or not (args.readme or args.html or args.plots)

    def _listing(self) -> str:
        if self.args.published:
            return self._published_listing()
        return self._compared_listing() if self.comparing else self._measured_listing()

    @property
    def comparing(self) -> bool:
        """Whether measured rows are shown beside the published ones."""
        return self.args.compare is not None

    def _say(self, written: list[str]) -> None:
        """Name the files that were written, on standard output unless that is one of them."""
        if written and self.args.format is None:
            here = [
                path for path in (self.args.html, self.args.readme) if path and _is_stdout(path)
            ]
            print("\n".join(written), file=sys.stderr if here else sys.stdout)

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
        written = self._write_extras()
        if proof is not None:
            results = path.parent / RESULTS
            stale = stale_results(results, proof)
            if stale:
                write_bytes(results, proof)
                written += others_that_refer_to(results, path)
            written.append(f"{'wrote' if stale else 'up to date:'} {results}")
        if new != old:
            readme.write(path, new)
        written.append(f"{'wrote' if new != old else 'up to date:'} {path}")
        self._say(written)
        if self.args.format == "markdown":
            sys.stdout.write("\n\n".join(texts.values()) + "\n")
        elif self._prints:
            sys.stdout.write(self._measured_listing())

    def _block(self, name: str) -> str:
        bold, seeds = self.args.bold, self.args.seeds
        if name == "published":
            return published_sections(self.published, self.args.only, bold)
        if name == "compare":
            return to_markdown(self._compared(self.target), bold)
        if name == "pictures":
            return self._picture_links()
        if name == "all":
            links = self._picture_links() if self.args.plots else ""
            text = document.everything(self.measured, links, seeds=seeds, bold=bold)
            return self._with_proof(text)
        own = [item for item in self.measured if item.kind.own]
        tables = own if name == "own" else [x for x in self.measured if x.kind.key == name]
        return self._with_proof(document.measured_sections(tables, seeds=seeds, bold=bold))

    def _with_proof(self, text: str) -> str:
        if self.target is None:
            return text
        return f"{text}\n\nThe records behind every cell: [{RESULTS}]({RESULTS})."

    def _measured_listing(self) -> str:
        bold, seeds = self.args.bold, self.args.seeds
        formats: Mapping[str, Callable[[], str]] = {
            "markdown": lambda: self._block("all") + "\n",
            "csv": lambda: exports.measured_csv(self.measured, seeds),
            "latex": lambda: latex.measured_latex(self.measured, bold, seeds),
            "metafile": lambda: metadata.to_metafile(self.measured, self.collection.cards),
            "model-index": lambda: metadata.to_model_index(self.measured),
            "json": lambda: exports.to_json(self.collection, self.measured, seeds, Path()).decode(),
        }
        return formats[self.args.format or "markdown"]()

    def _compared_listing(self) -> str:
        sections = self._compared(self.target)
        formats: Mapping[str, Callable[[], str]] = {
            "markdown": lambda: to_markdown(sections, self.args.bold) + "\n",
            "csv": lambda: exports.to_csv(
                [one.table for one in sections], [one.notes for one in sections]
            ),
            "latex": lambda: latex.to_latex(
                [one.table for one in sections],
                self.args.bold,
                [one.facts for one in sections],
                [one.notes for one in sections],
                [one.printed for one in sections],
            ),
        }
        return self._in_format(formats, "--compare")

    def _in_format(self, formats: Mapping[str, Callable[[], str]], flag: str) -> str:
        form = self.args.format or "markdown"
        if form not in formats:
            raise UserError(
                f"{flag} has no --format {form}: use {', '.join(formats)}, or --html FILE"
            )
        return formats[form]()

    def _published_listing(self) -> str:
        tables = published_tables(self.published, select(self.published, self.args.only))
        formats: Mapping[str, Callable[[], str]] = {
            "markdown": lambda: self._block("published") + "\n",
            "csv": lambda: exports.to_csv(tables),
            "latex": lambda: latex.to_latex(tables, self.args.bold),
        }
        return self._in_format(formats, "--published")

    def _picture_links(self) -> str:
        if self.args.plots is None:
            raise UserError("the block pictures needs the folder of the pictures: add --plots DIR")
        base = self.target.parent if self.target else Path()
        links = []
        for picture in self.pictures:
            where = os.path.relpath(self.args.plots.resolve() / picture.name, base.resolve())
            links.append("!" + markdown_link(picture.alt, f"{relative_url(where)}.svg"))
        return "\n\n".join(links) if links else document.NO_RESULTS

    def _write_extras(self) -> list[str]:
        """Write the pictures and the page; returns a line for each that was written."""
        written = []
        if self.args.plots is not None:
            from reports.pictures import plots

            plots.write(self.args.plots, self.pictures)
            drawn = f"{len(self.pictures)} picture{'s' * (len(self.pictures) != 1)}"
            written.append(f"wrote {drawn} in {self.args.plots}")
        if self.args.html is not None:
            write_output(self.args.html, self._page())
            written.append(f"wrote {self.args.html}")
        return written

    def _page(self, outline: bool = False) -> bytes:
        """The page; as an `outline` with what is compared of its pictures in their place."""
        from reports.pages import html

        draw = html.outline if outline else html.svg
        if self.args.published:
            tables = published_tables(self.published, select(self.published, self.args.only))
            return html.page([html.section(table.kind.title, table) for table in tables], [])
        measured = self._measured_for(self.args.html)
        pairs = []
        if self.args.ci:
            from reports.confidence.pairs import paired_rows  # needs numpy

            pairs = paired_rows(measured, self.collection)
        sections = html.measured_sections(measured, self.args.seeds, pairs)
        if self.comparing:
            sections = [
                html.section(one.title, one.table, one.notes, fixed=True)
                for one in self._compared(self.args.html)
            ]
        return html.page(sections, self.pictures, draw, hours_by_row(self.collection.found))

    def _check(self, path: Path, old: bytes | None, new: bytes, proof: bytes | None) -> None:
        problems = readme.difference(old or b"", new, path)
        results = path.parent / RESULTS
        lines = []
        if proof is not None and stale_results(results, proof):
            lines.append(f"{results} is missing or stale")
        if self.args.plots is not None:
            lines += stale_pictures(self.args.plots, self.pictures)
        if self.args.html is not None:
            lines += stale_page(self.args.html, self._page(outline=True))
        problems += "".join(f"{line}\n" for line in lines)
        if problems:
            with suppress(BrokenPipeError):  # a reader that has seen enough makes nothing fresh
                sys.stdout.write(problems)
                sys.stdout.flush()
            print("stale; run the same command without --check", file=sys.stderr)
            raise SystemExit(1)


def _is_stdout(path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False
