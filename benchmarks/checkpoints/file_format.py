"""What is known of a format in which another project saves a trunk; the table is in `formats`."""

from dataclasses import dataclass

from benchmarks.checkpoints.cards import IMAGENET_STD


@dataclass(frozen=True)
class Format:
    """How a project's files look, and which trunk of theirs the project itself evaluates."""

    name: str  # of --format
    project: str
    looks: str  # Markdown, one line
    told_by: str  # one line
    keys: tuple[str, ...] = ()  # that the file must have at its top
    marks: tuple[str, ...] = ()  # regular expressions; each must match within some tensor's address
    takes: tuple[str, ...] = ()  # regular expressions of trunks' addresses, the first that is there
    rule: str = ""  # where the project says which of several trunks is to be taken
    copies: str = ""  # regular expression of the addresses of copies, which must be the same
    std: tuple[float, float, float] = IMAGENET_STD  # that the trunk was trained with
    notes: tuple[str, ...] = ()
    auto: bool = True  # whether --format auto may take it
    common: bool = False  # no one project's: told by where the trunk lies
    network_known: bool = False  # the project's code is torchvision's or timm's network, RGB
