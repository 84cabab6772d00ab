"""Vision transformers of other projects: their own forward against ours, their names by timm's."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.models.eva import checkpoint_filter_fn
from torch import Tensor, nn

from benchmarks.backbones.backbone import build_backbone
from benchmarks.checkpoints.assumptions import DINOV2_POSITIONS
from benchmarks.checkpoints.finding.guessing import guess_architecture
from benchmarks.checkpoints.reading import Imported, read_checkpoint
from benchmarks.checkpoints.vit.names import timm_names, with_timm_names
from slurm.errors import UserError

State = dict[str, Tensor]
TAPS = (1, 4, 6, 9, 11)  # blocks of twelve that are measured


def randomised(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            scale = tensor[0].numel() ** -0.5 if tensor.dim() == 2 else 0.2
            tensor.normal_(0.0, scale, generator=generator)
            if "norm" in name or "ln" in name or "gamma" in name:
                tensor.add_(1.0)
    return model.eval()


class Block(nn.Module):
    def __init__(self, width: int, heads: int, scaled: bool, gated: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict(
            {n: nn.Linear(width, m * width) for n, m in (("qkv", 3), ("proj", 1))}
        )
        layers = {"w12": (width, 4 * width), "w3": (2 * width, width)} if gated else {}
        layers = layers or {"fc1": (width, 4 * width), "fc2": (4 * width, width)}
        self.mlp = nn.ModuleDict({name: nn.Linear(*sizes) for name, sizes in layers.items()})
        self.gamma = nn.ParameterList([torch.ones(width) for _ in range(2 if scaled else 0)])

    def attention(self, tokens: Tensor) -> Tensor:
        n, count, width = tokens.shape
        q, k, v = self.attn["qkv"](tokens).view(n, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.attn["proj"](mixed.transpose(1, 2).reshape(n, count, width))

    def feed(self, tokens: Tensor) -> Tensor:
        if "w12" in self.mlp:
            gate, values = self.mlp["w12"](tokens).chunk(2, dim=-1)
            return self.mlp["w3"](F.silu(gate) * values)
        return self.mlp["fc2"](F.gelu(self.mlp["fc1"](tokens)))

    def forward(self, tokens: Tensor) -> Tensor:
        first, second = self.gamma if len(self.gamma) else (1.0, 1.0)
        tokens = tokens + first * self.attention(self.norm1(tokens))
        return tokens + second * self.feed(self.norm2(tokens))


class ViT(nn.Module):
    """The usual network; registers come between class token and patches, without positions."""

    def __init__(
        self,
        width: int,
        heads: int,
        patch: int,
        side: int,
        registers: int = 0,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.side = side
        self.proj = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, registers, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, side * side + 1, width))
        self.blocks = nn.ModuleList([Block(width, heads, scaled, False) for _ in range(12)])

    @torch.no_grad()
    def maps(self, images: Tensor) -> list[Tensor]:
        tokens = self.proj(images).flatten(2).mT
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), tokens], 1) + self.pos_embed
        registers = self.register_tokens.expand(len(images), -1, -1)
        tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], 1)
        found = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in TAPS:
                patches = tokens[:, 1 + registers.shape[1] :]
                found.append(patches.mT.unflatten(2, (self.side, self.side)))
        return found


def renamed(model: nn.Module, rules: dict[str, str]) -> State:
    state = {}
    for name, tensor in model.state_dict().items():
        for pattern, replacement in rules.items():
            name = re.sub(pattern, replacement, name)
        if tensor.numel():
            state[name] = tensor
    return state


MM = {
    r"^proj\.": "patch_embed.projection.",
    r"^blocks\.(\d+)\.norm": r"layers.\1.ln",
    r"^blocks\.(\d+)\.attn\.": r"layers.\1.attn.",
    r"^blocks\.(\d+)\.mlp\.fc1\.": r"layers.\1.ffn.layers.0.0.",
    r"^blocks\.(\d+)\.mlp\.fc2\.": r"layers.\1.ffn.layers.1.",
    r"^blocks\.(\d+)\.gamma\.0": r"layers.\1.attn.gamma1.weight",
    r"^blocks\.(\d+)\.gamma\.1": r"layers.\1.ffn.gamma2.weight",
}
DINOV2 = {
    r"^proj\.": "patch_embed.proj.",
    r"gamma\.0": "ls1.gamma",
    r"gamma\.1": "ls2.gamma",
}


def assert_same(found: Imported, expected: list[Tensor], images: Tensor) -> None:
    backbone = build_backbone(found.arch, sobel=False).eval()
    backbone.trunk.load_state_dict(found.tensors)
    with torch.inference_mode():
        maps = backbone(images)
    for features, reference in zip(maps.values(), expected, strict=True):
        scale = float(reference.abs().max())
        assert torch.allclose(features, reference, atol=1e-5 * scale, rtol=1e-4)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="module")
def tiny() -> Any:
    return randomised(ViT(192, 3, 16, 14))


def test_mmpretrain(tmp_path: Path, tiny: Any) -> None:
    state = renamed(tiny, MM) | {"ln1.weight": noise(192), "ln1.bias": noise(192)}
    state = {f"backbone.{name}": tensor for name, tensor in state.items()}
    state |= {"head.layers.head.weight": noise(10, 192)}
    path = tmp_path / "vit.pth"
    torch.save({"meta": {}, "state_dict": state}, path)
    found = read_checkpoint(path)
    assert found.arch == "vit_tiny_patch16_224"
    images = noise(1, 3, 224, 224)
    assert_same(found, tiny.maps(images), images)


def test_torchvision(tmp_path: Path) -> None:
    model = randomised(
        torchvision.models.VisionTransformer(
            image_size=224, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768
        )
    )
    maps: list[Tensor] = []
    layers = model.get_submodule("encoder.layers")
    for number in TAPS:
        layers[number].register_forward_hook(lambda _, __, out: maps.append(out[:, 1:]))  # type: ignore[index]
    images = noise(1, 3, 224, 224)
    with torch.inference_mode():
        model(images)
    expected = [tokens.mT.unflatten(2, (14, 14)) for tokens in maps]
    state = model.state_dict()
    older = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): tensor
        for name, tensor in state.items()
    }
    for file, content in (("new.pth", state), ("old.pth", {"model": older})):
        torch.save(content, tmp_path / file)
        found = read_checkpoint(tmp_path / file)
        assert found.arch == "vit_tiny_patch16_224"
        assert_same(found, expected, images)


def test_dinov2_with_registers(tmp_path: Path) -> None:
    model = randomised(ViT(384, 6, 14, 37, registers=4, scaled=True))
    torch.save(renamed(model, DINOV2), tmp_path / "dinov2.pth")
    found = read_checkpoint(tmp_path / "dinov2.pth")
    assert found.arch == "vit_small_patch14_reg4_dinov2"
    images = noise(1, 3, 518, 518)
    assert_same(found, model.maps(images), images)  # type: ignore[operator]


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.encoder."])
def test_names_of_mmpretrain(prefix: str, scaled: bool) -> None:
    """Whatever stands before them, layer scale included, and with gated layers."""
    state = renamed(ViT(8, 2, 4, 2, scaled=scaled), MM)
    found = timm_names({prefix + name: tensor for name, tensor in state.items()})
    block = {f"blocks.3.{n}.{k}" for n in ("norm1", "norm2") for k in ("weight", "bias")}
    block |= {f"blocks.3.{n}.{k}" for n in ("attn.qkv", "attn.proj") for k in ("weight", "bias")}
    block |= {f"blocks.3.{n}.{k}" for n in ("mlp.fc1", "mlp.fc2") for k in ("weight", "bias")}
    block |= {f"blocks.3.ls{n}.gamma" for n in (1, 2) if scaled}
    names = {name.removeprefix(prefix) for name in found}
    assert {name for name in names if name.startswith("blocks.3.")} == block
    assert {name for name in names if not name.startswith("blocks.")} == {
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
    }
    gated = {
        name.replace("layers.0.0.", "w12.").replace("ffn.layers.1.", "ffn.w3."): tensor
        for name, tensor in state.items()
    }
    assert timm_names(gated).keys() == timm_names(state).keys()


def dinov3(arch: str, *, zero: bool, gated: bool) -> State:
    """Names as facebookresearch/dinov3 has them, from timm's shapes."""
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in timm.create_model(arch).state_dict().items()}
    state: State = {"mask_token": noise(1, 384), "rope_embed.periods": noise(16)}
    for name, shape in shapes.items():
        if name.endswith("v_bias"):
            continue
        if name.endswith("q_bias"):
            bias = torch.cat([noise(384), torch.zeros(384), noise(384) + 1])
            state[name.replace("q_bias", "qkv.bias")] = bias * (not zero)
            mask = torch.cat([torch.ones(384), torch.zeros(384), torch.ones(384)])
            state[name.replace("q_bias", "qkv.bias_mask")] = mask
            continue
        for new, old in (
            ("reg_token", "storage_tokens"),
            ("gamma_", "ls"),
            ("fc1_g", "w1"),
            ("fc1_x", "w2"),
            ("fc2", "w3" if gated else "fc2"),
        ):
            name = name.replace(new, old)
        state[name + ".gamma" if re.search(r"\.ls\d$", name) else name] = noise(*shape)
    return state


@pytest.mark.parametrize(
    ("arch", "zero", "gated"),
    [
        ("vit_small_patch16_dinov3", True, False),
        ("vit_small_patch16_dinov3_qkvb", False, False),
        ("vit_small_plus_patch16_dinov3", True, True),
        ("vit_small_plus_patch16_dinov3_qkvb", False, True),
    ],
)
def test_dinov3_as_timm_converts_it(tmp_path: Path, arch: str, zero: bool, gated: bool) -> None:
    full = arch if arch.endswith("qkvb") else f"{arch}_qkvb"
    state = dinov3(full, zero=zero, gated=gated)
    with torch.device("meta"):
        model = timm.create_model(arch)
    expected = checkpoint_filter_fn(dict(state), model)
    found = timm_names(state)
    assert {name for name in found if name != "mask_token"} == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    assert guess_architecture(shapes) == arch


def test_a_file_of_dinov3(tmp_path: Path) -> None:
    state = dinov3("vit_small_patch16_dinov3_qkvb", zero=True, gated=False)
    del state["mask_token"]
    torch.save(state, tmp_path / "dinov3.pth")
    found = read_checkpoint(tmp_path / "dinov3.pth")
    assert found.arch == "vit_small_patch16_dinov3"
    name = next(name for name in found.tensors if name.endswith("blocks.0.gamma_1"))
    assert torch.equal(found.tensors[name], state["blocks.0.ls1.gamma"])


def test_dinov2_as_timm_converts_it() -> None:
    from timm.models.vision_transformer import _convert_dinov2

    state = renamed(ViT(8, 2, 4, 3, registers=4, scaled=True), DINOV2)
    state = {name: noise(*tensor.shape) for name, tensor in state.items()}
    state |= {"blocks.0.mlp.w12.weight": noise(4, 4), "blocks.0.mlp.w3.bias": noise(4)}
    del state["blocks.0.mlp.fc1.weight"], state["blocks.0.mlp.fc2.bias"]
    expected = _convert_dinov2(dict(state), None)
    found = timm_names(state)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_blocks_in_chunks_are_numbered_through(tiny: Any) -> None:
    """dinov2 trains with BlockChunk: blocks.{chunk}.{number}, the number counting all blocks."""
    state = renamed(tiny, DINOV2)
    chunked = {
        re.sub(r"^blocks\.(\d+)\.", lambda m: f"teacher.blocks.{int(m[1]) // 3}.{m[1]}.", name): t
        for name, t in state.items()
    }
    found = timm_names(
        {n if n.startswith("teacher.") else f"teacher.{n}": t for n, t in chunked.items()}
    )
    assert found.keys() == {f"teacher.{name}" for name in state}
    assert torch.equal(found["teacher.blocks.7.norm1.weight"], state["blocks.7.norm1.weight"])


def test_other_networks_keep_their_names() -> None:
    for model in (
        torchvision.models.resnet18(),
        timm.create_model("vit_tiny_patch16_224"),
        timm.create_model("swin_tiny_patch4_window7_224"),
    ):
        state = model.state_dict()
        found = with_timm_names({"a": [1], "state_dict": state, 3: {"b": None}})
        assert list(found["state_dict"]) == list(state)
        assert (found["a"], found[3]) == ([1], {"b": None})


def test_wrong_tensors_are_still_refused(tmp_path: Path, tiny: Any) -> None:
    state = renamed(tiny, MM)
    path = tmp_path / "x.pth"
    for change in (
        {"layers.3.ln1.weight": None},
        {"layers.3.ffn.layers.0.0.weight": noise(192, 192)},
        {"layers.3.attn.extra.weight": noise(2)},
        {"pos_embed": noise(1, 50, 192)},
    ):
        changed = {k: v for k, v in {**state, **change}.items() if v is not None}
        torch.save(changed, path)
        with pytest.raises(UserError):
            read_checkpoint(path)


def test_two_tensors_that_would_get_one_name(tiny: Any) -> None:
    state = renamed(tiny, MM) | {"blocks.0.norm1.weight": noise(192)}
    assert timm_names(state).keys() == state.keys()


def test_deit_iii_by_its_own_names(tmp_path: Path) -> None:
    """facebookresearch/deit's Layer_scale_init_Block calls gamma_1 what timm calls ls1.gamma."""
    model = randomised(timm.create_model("deit3_small_patch16_224"))
    state = {re.sub(r"ls([12])\.gamma", r"gamma_\1", k): v for k, v in model.state_dict().items()}
    assert "blocks.0.gamma_1" in state
    path = tmp_path / "deit_3_small_224_1k.pth"
    torch.save({"model": state}, path)
    found = read_checkpoint(path)
    assert found.arch == "deit3_small_patch16_224"
    backbone = build_backbone(found.arch, sobel=False).eval()
    backbone.trunk.load_state_dict(found.tensors)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    expected = model.forward_intermediates(images, indices=[11], intermediates_only=True)[0]
    assert torch.allclose(backbone(images)["feature5"], expected, rtol=1e-4, atol=1e-4)


def test_blocks_that_timm_calls_so_too_keep_their_names() -> None:
    state = timm.create_model("beit_base_patch16_224").state_dict()
    assert timm_names(state).keys() == state.keys()


@pytest.mark.parametrize(
    ("arch", "noted"),
    [("vit_small_patch14_dinov2", True), ("vit_small_patch14_reg4_dinov2", False)],
)
def test_positions_that_are_resampled_otherwise_are_noted(
    tmp_path: Path, arch: str, noted: bool
) -> None:
    path = tmp_path / "dinov2.pth"
    torch.save(timm.create_model(arch).state_dict(), path)
    found = read_checkpoint(path, arch=arch)
    assert (DINOV2_POSITIONS in found.notes) is noted
