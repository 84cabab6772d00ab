"""What SLURM's commands print, found among what a site's own wrappers print around it.

Banners, `CLUSTER: name` headers and notices are no answers. A line counts when it has the form
that was asked for; where none has it, be it that nothing was printed, nothing is known.
"""

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# How sbatch tells the number of a job, from the surest form on: in words, as --parsable does it
# (`7` or `7;cluster`, alone on a line), and as wrappers may put it.
_IN_WORDS = re.compile(r"submitted batch job:? (\d+)", re.I)
_ALONE = re.compile(r"^\s*(\d+)(?:;[^\s;]+)?\s*$", re.M)
_SOMEHOW = re.compile(r"\bjob(?:[ _-]?id)?\W{0,3}(\d+)\b", re.I)


class NotReadable(Exception):
    """A command printed nothing, or no line of the form that was asked for."""

    def __init__(self, command: str, text: str) -> None:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        super().__init__(
            f"no line that {command} printed is of the form asked for; the first: {first[:120]!r}"
            if first
            else f"{command} ended well but printed nothing"
        )


def plain(text: str) -> str:
    """`text` without terminal colours and carriage returns."""
    return _COLOURS.sub("", text).replace("\r", "")


def job_numbers(text: str) -> tuple[list[str], bool]:
    """The numbers in what sbatch printed that can be the job's, and whether the form is SLURM's.

    More than one number means that only the queue can tell.
    """
    for form in (_IN_WORDS, _ALONE, _SOMEHOW):
        found = list(dict.fromkeys(form.findall(plain(text))))
        if found:
            return found, form is not _SOMEHOW
    return [], False


def rows(command: str, text: str, form: "re.Pattern[str]", header: str) -> list[tuple[str, ...]]:
    """The groups of `form` in each line of `text` that matches it as a whole.

    `header` is the first line of a table that may be empty, and was asked for: where it stands, no
    rows are an answer too. Else `NotReadable`.
    """
    lines = [line.strip() for line in plain(text).splitlines() if line.strip()]
    found = [match.groups(default="") for line in lines if (match := form.fullmatch(line))]
    if not found and header not in lines:
        raise NotReadable(command, text)
    return found
