"""The formats in which other projects save a trunk, as a table; the first that fits is taken.

A tensor's address is the keys that lead to it and its own name, joined by dots, such as
state_dict.module.encoder_q.conv1.weight. A trunk's address is what stands before its names, without
technical wrappers: state_dict.encoder_q. Sources: the constructors, the save calls and the
evaluation scripts of each project. "TV" is torchvision's ResNet naming.
"""

from benchmarks.checkpoints.file_format import Format

_SWAV_STD = (0.228, 0.224, 0.225)
_SWAV_NOTE = "trained with standard deviation 0.228 for red, which evaluation uses too, not 0.229"
_MM_RULE = (
    "OpenMMLab's loaders read the plain names, where its EMA hooks put the average before saving "
    "(ema_state_dict and ema_* then hold the other weights; publish_model.py drops them)"
)
_MM_TAKES = (r"state_dict\.backbone",)

FORMATS: tuple[Format, ...] = (
    Format(
        "vissl",
        "VISSL",
        "`classy_state_dict.base_model.model.trunk` of `_feature_blocks.`+TV, bare TV or AlexNet; "
        "converted files `model_state_dict` or flat",
        "`_feature_blocks.` or `classy_state_dict`",
        marks=(r"(_feature_blocks|classy_state_dict\.base_model\.model\.trunk)\.",),
        takes=(r"classy_state_dict\.base_model\.model\.trunk(\..+)?", r"(.+\.)?_feature_blocks"),
        rule="VISSL's evaluations load base_model.model.trunk",
        network_known=True,
    ),
    Format(
        "deepcluster",
        "facebookresearch/deepcluster: AlexNet, VGG16",
        "`state_dict` of `features.module.N`, `classifier.`, `top_layer.`, `sobel.`",
        "`features.module.0.weight`",
        marks=(r"features\.module\.0\.weight",),
        network_known=True,
    ),
    Format(
        "deepcluster-v2",
        "facebookresearch/swav: DeepCluster-v2",
        "flat, or `state_dict` beside `optimizer`: `module.`+TV, `module.projection_head.`",
        "`module.prototypes.prototypes0.weight`",
        marks=(r"module\.prototypes\.prototypes0\.weight",),
        std=_SWAV_STD,
        notes=(_SWAV_NOTE,),
        network_known=True,
    ),
    Format(
        "swav",
        "facebookresearch/swav: SwAV",
        "flat, or `state_dict` beside `optimizer`: `module.`+TV, `module.projection_head.`",
        "`module.prototypes.weight`",
        marks=(r"module\.prototypes\.weight",),
        std=_SWAV_STD,
        notes=(_SWAV_NOTE,),
        network_known=True,
    ),
    Format(
        "openselfsup",
        "OpenSelfSup, MMSelfSup 0.x: MoCo, BYOL, DenseCL",
        "`state_dict` of `backbone.`+TV and the same again as `encoder_q.0.` or `online_net.0.`; "
        "`encoder_k.`, `target_net.`",
        "`backbone.` beside `encoder_q.0.` or `online_net.0.`",
        marks=(r"state_dict\.backbone\.", r"(encoder_q|online_net|base_encoder)\.0\."),
        takes=(r"state_dict\.backbone",),
        rule="extract_backbone_weights.py takes backbone, the encoder that is trained by gradient",
        copies=r"state_dict\.(encoder_q|online_net|base_encoder)\.0",
    ),
    Format(
        "moco",
        "facebookresearch/moco and moco-v3",
        "`state_dict` of `module.encoder_q.`+TV, `encoder_k.`, `queue`; v3 `module.base_encoder.`, "
        "`momentum_encoder.`",
        "`encoder_q.` or `base_encoder.`",
        marks=(r"(encoder_q|base_encoder)\.",),
        takes=(r"(.+\.)?(encoder_q|base_encoder)",),
        rule="MoCo's main_lincls.py takes encoder_q (v3: base_encoder)",
        network_known=True,
    ),
    Format(
        "pycontrast",
        "PyContrast: InsDis, CMC, MoCo, PIRL, InfoMin",
        "`model` of `module.encoder.`+TV, `module.head.`; `contrast`, the memory; `model_ema`",
        "`model` beside `contrast`",
        keys=("model", "contrast"),
        marks=(r"^model\.(module\.)?encoder\.",),
        takes=(r"model\.encoder",),
        rule="PyContrast's linear_trainer.py loads model, not the momentum encoder",
        network_known=True,
    ),
    Format(
        "timm-ema",
        "timm, DeiT, ConvNeXt, torchvision's training script: with an average of the weights",
        "`state_dict` beside `state_dict_ema`, or `model` beside `model_ema`",
        "`state_dict_ema` or `model_ema`",
        marks=(r"^(state_dict_ema|model_ema)\.",),
        takes=(r"state_dict_ema(\..+)?", r"model_ema(\..+)?"),
        rule="timm's load_checkpoint takes the average (use_ema)",
        network_known=True,
    ),
    Format(
        "dino",
        "facebookresearch/dino, iBOT: full checkpoints, the teacher",
        "`student`, `teacher`: `backbone.` or `module.backbone.` before TV or ViT names, `head.`",
        "`teacher` and `student` of `backbone.`",
        keys=("student", "teacher"),
        marks=(r"^teacher\.(module\.)?backbone\.",),
        takes=(r"teacher\.backbone",),
        rule="DINO's eval_linear.py and eval_knn.py take the teacher (--checkpoint_key)",
        network_known=True,
    ),
    Format(
        "dino-student",
        "facebookresearch/dino, iBOT: the student of the same files",
        "as `dino`",
        "never by itself: `--format dino-student`",
        keys=("student", "teacher"),
        marks=(r"^student\.(module\.)?backbone\.",),
        takes=(r"student\.backbone",),
        rule="--format dino-student",
        auto=False,
        network_known=True,
    ),
    Format(
        "dinov2",
        "facebookresearch/dinov2: teacher files and training states",
        "`teacher` of `backbone.`, `dino_head.`; or `model` of `teacher.backbone.`, "
        "`student.backbone.`",
        "`teacher.backbone.` at the top or in `model`",
        marks=(r"^(model\.)?teacher\.(module\.|_\w+\.)*backbone\.",),
        takes=(r"(model\.)?teacher\.backbone",),
        rule="DINOv2's evaluations load the teacher (checkpoint_key)",
        network_known=True,
    ),
    Format(
        "openmmlab",
        "MMDetection, MMSegmentation",
        "`meta`, `state_dict` of `backbone.`+TV, `neck.`, `bbox_head.`, `decode_head.`; `ema_*`",
        "`meta`, `backbone.` and a detection or segmentation head",
        keys=("meta",),
        marks=(
            r"state_dict\.backbone\.",
            r"state_dict\.(bbox|rpn|roi|mask|decode|auxiliary|panoptic|semantic|query)_head\.",
        ),
        takes=_MM_TAKES,
        rule=_MM_RULE,
    ),
    Format(
        "mmcls",
        "MMClassification, MMPretrain",
        "`meta`, `state_dict` of `backbone.`+TV, `head.fc.`",
        "`meta`, `backbone.` and `head.fc.` or `head.layers.`",
        keys=("meta",),
        marks=(r"state_dict\.backbone\.", r"state_dict\.head\.(fc|layers)\."),
        takes=_MM_TAKES,
        rule=_MM_RULE,
    ),
    Format(
        "mmselfsup-1.x",
        "MMSelfSup 1.x and what MMEngine trains",
        "`meta`, `state_dict` of `backbone.`+TV, `message_hub`, `optimizer`, `param_schedulers`",
        "`message_hub` and `backbone.`",
        keys=("message_hub",),
        marks=(r"state_dict\.backbone\.",),
        takes=_MM_TAKES,
        rule=_MM_RULE,
    ),
    Format(
        "mmselfsup-0.x",
        "MMSelfSup 0.x and OpenSelfSup: training checkpoints",
        "`meta`, `state_dict` of `backbone.`+TV, `head.`, `sobel_layer.`, `optimizer`",
        "`meta` and `backbone.`",
        keys=("meta",),
        marks=(r"state_dict\.backbone\.",),
        takes=_MM_TAKES,
        rule=_MM_RULE,
    ),
    Format(
        "mmselfsup-backbone",
        "MMSelfSup 0.x and OpenSelfSup: released files (extract_backbone_weights)",
        "`state_dict` of bare TV, `author`",
        "`author` and `conv1.weight`",
        keys=("author",),
        marks=(r"^state_dict\.conv1\.weight",),
        takes=(r"state_dict",),
        rule=_MM_RULE,
    ),
    Format(
        "solo-learn",
        "solo-learn",
        "Lightning's `state_dict` of `backbone.`+TV (formerly `encoder.`), `projector.`, "
        "`momentum_backbone.`",
        "`pytorch-lightning_version` and `projector.`, `classifier.` or `momentum_*.`",
        keys=("pytorch-lightning_version",),
        marks=(
            r"state_dict\.(backbone|encoder)\.",
            r"state_dict\.(projector|classifier|momentum_\w+|prototypes)\.",
        ),
        takes=(r"state_dict\.(backbone|encoder)",),
        rule="solo-learn's main_linear.py takes backbone, not momentum_backbone",
    ),
    Format(
        "lightly",
        "lightly's benchmarks",
        "Lightning's `state_dict` of `backbone.`+TV or numbered children, `projection_head.`",
        "`backbone.` beside `projection_head.`, `online_classifier.` and the like",
        marks=(
            r"state_dict\.backbone\.",
            r"state_dict\.(projection_head|prediction_head|online_classifier|student_\w+)\.",
        ),
        takes=(r"state_dict\.backbone",),
        rule="lightly's benchmarks evaluate self.backbone",
    ),
    Format(
        "lightning-average",
        "Lightning's WeightAveraging callback",
        "`state_dict` (the average) beside `current_model_state`",
        "`current_model_state`",
        keys=("state_dict", "current_model_state"),
        takes=(r"state_dict(\..+)?",),
        rule="Lightning's WeightAveraging saves the average as state_dict",
    ),
    Format(
        "lightning",
        "other Lightning modules",
        "`state_dict` of `backbone.`, `encoder.`, `model.` or `net.` before TV, timm's names or "
        "numbered children",
        "one of these before the trunk's names",
        takes=(r"state_dict\.(model\.)?(backbone|encoder|model|net)",),
        common=True,
    ),
    Format(
        "data-parallel",
        "any DataParallel or DDP state dict",
        "flat, `state_dict` or `model` of `module.`+TV or timm's names",
        "`module.` before the trunk's names",
        marks=(r"module\.",),
        takes=(r"top|state_dict|model",),
        common=True,
    ),
    Format(
        "flat",
        "torchvision, timm, DINO's trunks, the zoo's own files",
        "bare names: flat, or in `state_dict`, `model`, `model_state_dict`",
        "nothing before the trunk's names",
        takes=(r"(top|state_dict|model|model_state_dict)(\.trunk)?|trunk",),
        common=True,
    ),
    Format(
        "wrapped",
        "anyone else",
        "one trunk below any keys and wrappers, such as `network`, `weights`, `_orig_mod.`, "
        "`module.`, `encoder.`, `_fsdp_wrapped_module.`",
        "the one place where every tensor of an architecture is found",
        takes=(r".*",),
        common=True,
    ),
)


def format_names() -> list[str]:
    """What `--format` takes beside auto."""
    return [format.name for format in FORMATS]


def markdown_table() -> str:
    """The formats as a table in Markdown."""
    lines = [
        "| `--format` | written by | looks like | recognised by |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| `{f.name}` | {f.project} | {f.looks} | {f.told_by} |" for f in FORMATS]
    return "\n".join(lines) + "\n"
