"""The layouts in which other projects save a trunk, as a table; the first that fits is taken.

Sources: the constructors and save calls of each project. "TV" is torchvision's ResNet naming.
"""

from dataclasses import dataclass

from benchmarks.checkpoints.cards import IMAGENET_STD

_STATE = (("state_dict",),)
_STATE_OR_FLAT = (("state_dict",), ())

# VISSL's AlexNet: block (0: conv1, 2: conv2, 4, 5, 6) and layer -> index in DeepCluster's.
_VISSL_ALEXNET = tuple(
    (rf"^{block}\.{layer}\.", f"features.{first + layer}.")
    for block, first in ((0, 0), (2, 4), (4, 8), (5, 11), (6, 14))
    for layer in (0, 1)
)
# nn.Sequential(*list(resnet.children())[:-1]), common among Lightning modules.
_SEQUENTIAL_RESNET = (
    (r"^0\.", "conv1."),
    (r"^1\.", "bn1."),
    *((rf"^{stage + 3}\.", f"layer{stage}.") for stage in (1, 2, 3, 4)),
)


@dataclass(frozen=True)
class Layout:
    """Where a trunk's tensors lie in a file and how they are called."""

    name: str
    what: str  # who writes it
    paths: tuple[tuple[str, ...], ...]  # keys that lead to the state dict; the first that exists
    prefix: str = ""  # regular expression of what stands before the trunk's names
    marks: tuple[str, ...] = ()  # each must match the start of some key of the state dict
    beside: tuple[str, ...] = ()  # keys that the file must have
    rename: tuple[tuple[str, str], ...] = ()  # regular expressions, after the prefix is gone
    copies: str | None = None  # prefix of a second copy of the trunk, which must be the same
    std: tuple[float, float, float] = IMAGENET_STD  # that the trunk was trained with
    notes: tuple[str, ...] = ()
    auto: bool = True  # whether --format auto may take it


_SWAV_STD = (0.228, 0.224, 0.225)
_SWAV_NOTE = "trained with standard deviation 0.228 for red, which evaluation uses too, not 0.229"

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "vissl",
        "VISSL .torch files and converted ones, _feature_blocks.+TV or AlexNet",
        (("classy_state_dict", "base_model", "model", "trunk"), ("model_state_dict",), ()),
        r"(?:base_model\.)?_feature_blocks\.",
        (r"(base_model\.)?_feature_blocks\.",),
        rename=_VISSL_ALEXNET,
    ),
    Layout(
        "deepcluster",
        "facebookresearch/deepcluster: AlexNet and VGG16, features.module.N",
        _STATE_OR_FLAT,
        r"(?:module\.)?",
        (r"(module\.)?features\.module\.0\.weight",),
        rename=((r"^features\.module\.", "features."),),
    ),
    Layout(
        "deepcluster-v2",
        "facebookresearch/swav: DeepCluster-v2, module.+TV",
        _STATE_OR_FLAT,
        r"module\.",
        (r"module\.prototypes\.prototypes0\.weight",),
        std=_SWAV_STD,
        notes=(_SWAV_NOTE,),
    ),
    Layout(
        "swav",
        "facebookresearch/swav: SwAV, module.+TV",
        _STATE_OR_FLAT,
        r"module\.",
        (r"module\.prototypes\.weight",),
        std=_SWAV_STD,
        notes=(_SWAV_NOTE,),
    ),
    Layout(
        "openselfsup",
        "OpenSelfSup (and MMSelfSup 0.x) MoCo and BYOL: backbone.+TV, twice",
        _STATE,
        r"backbone\.",
        (r"backbone\.", r"(encoder_q|online_net)\.0\."),
        copies=r"(?:encoder_q|online_net)\.0\.",
    ),
    Layout(
        "moco",
        "facebookresearch/moco v1, v2 (encoder_q) and v3 (base_encoder)",
        _STATE_OR_FLAT,
        r"(?:module\.)?(?:encoder_q|base_encoder)\.",
        (r"(module\.)?(encoder_q|base_encoder)\.",),
    ),
    Layout(
        "dino",
        "facebookresearch/dino full checkpoints: the teacher",
        (("teacher",),),
        r"(?:module\.)?backbone\.",
        (r"(module\.)?backbone\.",),
        ("student", "teacher"),
    ),
    Layout(
        "dino-student",
        "facebookresearch/dino full checkpoints: the student",
        (("student",),),
        r"(?:module\.)?backbone\.",
        (r"(module\.)?backbone\.",),
        ("student", "teacher"),
        auto=False,
    ),
    Layout(
        "mmcls",
        "MMClassification and MMPretrain: backbone.+TV, head.fc",
        _STATE,
        r"backbone\.",
        (r"backbone\.", r"head\.(fc|layers)\."),
        ("meta",),
    ),
    Layout(
        "mmselfsup-1.x",
        "MMSelfSup 1.x training checkpoints: backbone.+TV",
        _STATE,
        r"backbone\.",
        (r"backbone\.",),
        ("message_hub",),
    ),
    Layout(
        "mmselfsup-0.x",
        "MMSelfSup 0.x and OpenSelfSup training checkpoints: backbone.+TV",
        _STATE,
        r"backbone\.",
        (r"backbone\.",),
        ("meta",),
    ),
    Layout(
        "mmselfsup-backbone",
        "released by MMSelfSup 0.x and OpenSelfSup (extract_backbone_weights): TV",
        _STATE,
        marks=(r"conv1\.weight",),
        beside=("author",),
    ),
    Layout(
        "solo-learn",
        "solo-learn: backbone.+TV, formerly encoder.+TV",
        _STATE,
        r"(?:backbone|encoder)\.",
        (r"(backbone|encoder)\.", r"(projector|classifier|momentum_\w+|prototypes)\."),
        ("pytorch-lightning_version",),
    ),
    Layout(
        "lightly",
        "lightly's benchmarks: backbone.+TV",
        _STATE,
        r"backbone\.",
        (r"backbone\.", r"(projection_head|prediction_head|online_classifier|student_\w+)\."),
        rename=_SEQUENTIAL_RESNET,
    ),
    Layout(
        "lightning",
        "other Lightning modules: backbone., encoder., model. or net. before the names",
        _STATE,
        r"(?:model\.)?(?:backbone|encoder|model|net)\.",
        (r"(model\.)?(backbone|encoder|model|net)\.",),
        rename=_SEQUENTIAL_RESNET,
    ),
    Layout(
        "data-parallel",
        "any DataParallel or DDP state dict: module. before the names",
        (("state_dict",), ("model",), ()),
        r"module\.",
        (r"module\.",),
    ),
    Layout(
        "flat",
        "torchvision, timm, DINO trunks, and the zoo's own files: bare names",
        ((), ("state_dict",), ("model",), ("model_state_dict",)),
        r"(?:trunk\.)?",
    ),
)

# Names that stand beside a trunk's within its prefix: heads, and the constants of a Sobel stem.
HEADS = (
    r"(fc|head|heads|neck|classifier|top_layer|last_layer|projection_head|projector|prototypes|"
    r"predictor|aux|sobel|sobel_layer|loss_weight|queue|queue_ptr)(\.|$)"
)
SOBEL = r"(?:.*\.)?sobel(?:_layer\.sobel)?\.(0|1)\.(weight|bias)"
