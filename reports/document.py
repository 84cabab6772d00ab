"""What stands between the markers: headings, explanations, tables and footnotes."""

from collections.abc import Sequence

from reports.differing import otherwise
from reports.footnotes import footnotes
from reports.measured import Measured
from reports.tables import PART_NAMES, Table, code, escape, link, markdown

NO_RESULTS = "No results yet."
CLASSIFICATION = (
    "The classification benchmarks includes 4 downstream task datasets, **VOC**, **ImageNet**,  "
    "**iNaturalist2018** and **Places205**. If not specified, the results are Top-1 (%)."
)
OWN_DATA = (
    "The results are on data of the user's own: {names}. If not specified, they are Top-1 (%)."
)
BEST_LAYER = (
    "The **Best Layer** indicates that the best results are obtained from which layers feature "
    "map. For example, if the **Best Layer** is **feature3**, its best result is obtained from the "
    "second stage of ResNet (1 for stem layer, 2-5 for 4 stage layers)."
)
SHOTS = "Besides, {columns} indicates the hyper-parameter of Low-shot SVM."
FEATURES = (
    "The **Feature1 - Feature5** don't have the GlobalAveragePooling, the feature map is pooled to "
    "the specific dimensions and then follows a Linear layer to do the classification. Please "
    "refer to {protocol} for details of config."
)
AVGPOOL = (
    "The **AvgPool** result is obtained from Linear Evaluation with GlobalAveragePooling. Please "
    "refer to {protocol} for details of config."
)
NEIGHBOURS = (
    "The results are obtained from the features after GlobalAveragePooling. Here, {columns} "
    "indicates different number of nearest neighbors."
)
LOGREG = (
    "The **LogReg** result is obtained by multinomial logistic regression on the features after "
    "GlobalAveragePooling; beside it the same with few labels of each class. Please refer to "
    "{protocol} for details of config."
)

ATTENTIVE = (
    "The **EP1** and **EP32** results are obtained by 1 and 32 learned queries in cross-attention "
    "over the positions of the last feature map, followed by a Linear layer. Please refer to "
    "{protocol} for details of config."
)
BLOCKS = (
    "The **Block1** and following results are obtained by a Linear layer on the feature map after "
    "each block of the network, pooled to the specific dimensions. Please refer to {protocol} for "
    "details of config."
)
_CONFIGS = "https://github.com/open-mmlab/mmselfsup/blob/master/configs/benchmarks/classification/"
CONFIG_FOLDERS = {  # of MMSelfSup's configs, and what its pages put after their names
    "imagenet_linear": ("imagenet/", ""),
    "imagenet_avgpool": ("imagenet/", ""),
    "places205_linear": ("places205/", ".py"),
    "inaturalist18_linear": ("inaturalist2018/", ""),
}
_BY_COLUMN = {
    "Feature1": FEATURES,
    "AvgPool": AVGPOOL,
    "k=10": NEIGHBOURS,
    "LogReg": LOGREG,
    "EP1": ATTENTIVE,
    "Block1": BLOCKS,
}


def explanation(table: Table, protocols: dict[str, str]) -> list[str]:
    """The paragraphs between a heading and its table; `protocols` by part, as Markdown."""
    kind, columns = table.kind, table.columns
    if kind.layout == "best layer":
        shots = [column for column in columns if column.startswith("k=")]
        return [BEST_LAYER, *([SHOTS.format(columns=_span(shots))] if shots else [])]
    owned = [column for column in _BY_COLUMN if column in kind.columns]
    texts = {kind.part(column): _BY_COLUMN[column] for column in owned}
    return [
        texts[part].format(protocol=name, columns=_span(columns))
        for part, name in protocols.items()
        if part in texts
    ]


def protocol_link(part: str, name: str) -> str:
    """A protocol of a part in `CONFIG_FOLDERS` as MMSelfSup's pages refer to it, Markdown."""
    folder, suffix = CONFIG_FOLDERS[part]
    return link(f"{name}{suffix}", f"{_CONFIGS}{folder}{name}.py")


def _span(columns: Sequence[str]) -> str:
    """The columns from the first to the last, as `k=1 to 96`."""
    return " to ".join(dict.fromkeys((columns[0], columns[-1]))).replace("to k=", "to ")


def section(
    table: Table,
    protocols: dict[str, str],
    notes: Sequence[str],
    bold: bool = False,
    number: str = "",
) -> str:
    """A heading, what the columns mean, the table, and its footnotes as a list."""
    facts = [] if table.variant == "mmselfsup" else [f"variant {code(table.variant)}"]
    facts += ["partial data"] if table.partial else []
    facts += [number] if number else []
    blocks = [
        f"#### {escape(table.kind.title)}" + (f" ({', '.join(facts)})" if facts else ""),
        *explanation(table, protocols),
        markdown(table, bold),
    ]
    if notes:
        blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks)


def measured_section(measured: Measured, *, seeds: bool = False, bold: bool = False) -> str:
    """The section of one measured table."""
    protocols = {
        part: _referred_to(part, measured.found[part][0].record.protocol, measured.variant)
        for part in measured.kind.parts
        if part in measured.found
    }
    number = escape(numbered(measured))
    return section(measured.table, protocols, footnotes(measured, seeds, bold), bold, number)


def _referred_to(part: str, name: str, variant: str) -> str:
    published = variant == "mmselfsup" and part in CONFIG_FOLDERS
    return protocol_link(part, name) if published else code(name)


def numbered(measured: Measured) -> str:
    """Of a table with others of its kind and variant: which one it is, and what is otherwise."""
    if not measured.table.number:
        return ""
    words = otherwise(measured, PART_NAMES)
    return f"{measured.table.number}, measured otherwise" + (f": {words}" if words else "")


def measured_sections(
    tables: Sequence[Measured], *, seeds: bool = False, bold: bool = False
) -> str:
    """The sections of several tables, or a line that says that there are none."""
    texts = [measured_section(measured, seeds=seeds, bold=bold) for measured in tables]
    return "\n\n".join(texts) if texts else NO_RESULTS


def everything(
    tables: Sequence[Measured], pictures: str = "", *, seeds: bool = False, bold: bool = False
) -> str:
    """The block `all`: every table under one heading, then the pictures where there are any."""
    sections = measured_sections(tables, seeds=seeds, bold=bold)
    own = dict.fromkeys(table.kind.own for table in tables if table.kind.own)
    names = ", ".join(f"**{escape(name)}**" for name in own)
    all_own = bool(tables) and all(table.kind.own for table in tables)
    begin = OWN_DATA.format(names=names) if all_own else CLASSIFICATION
    blocks = ["### Classification", begin, sections]
    if pictures:
        blocks += ["### Pictures", pictures]
    return "\n\n".join(blocks)
