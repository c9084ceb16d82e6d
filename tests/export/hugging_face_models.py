"""Small detectors of transformers with random weights, made so that features, scores and boxes vary from place to
place: freshly initialised ones answer every picture alike, and ties among equals are decided by rounding."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from torch import nn

from edgedet.proof.golden_scene import golden_frame

transformers = pytest.importorskip("transformers", minversion="5")

KINDS = ("rt_detr", "rt_detr_v2", "d_fine", "deimv2", "rf_detr")
SPREAD = 2.5
"""Standard deviation of class logits."""


def image_size(kind: str) -> int:
    """Side of the square input."""
    return 112 if kind == "rf_detr" else 128


def save(kind: str, folder: Path, **config: Any) -> Path:
    """A whole folder of a detector: config, weights, image processor."""
    size = {"height": image_size(kind), "width": image_size(kind)}
    if kind == "rf_detr":
        processor = transformers.RfDetrImageProcessor(size=size, do_pad=False)
    else:
        processor = transformers.RTDetrImageProcessor(size=size)
    model(kind, **config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def model(kind: str, **config: Any) -> Any:
    """A detector of four classes (RF-DETR: five, the last called background), 30 queries."""
    torch.manual_seed(0)
    names = ["a", "b", "c", "d"] + ["background"] * (kind == "rf_detr")
    built = _detector(kind, {"id2label": dict(enumerate(names)), "num_queries": 30, "decoder_layers": 2} | config)
    _spread(built.eval(), image_size(kind))
    return built


def _detector(kind: str, common: dict[str, Any]) -> Any:
    if kind == "rf_detr":
        from transformers.models.rf_detr.configuration_rf_detr import RfDetrDinov2Config

        backbone = RfDetrDinov2Config(
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            num_windows=2,
            out_indices=[1, 2],
        )
        config = transformers.RfDetrConfig(
            backbone_config=backbone, d_model=32, decoder_ffn_dim=32, decoder_self_attention_heads=2,
            decoder_cross_attention_heads=2, decoder_n_points=2, group_detr=2, c2f_num_blocks=1, **common,
        )  # fmt: skip
        return transformers.RfDetrForObjectDetection(config)
    sizes = {
        "encoder_hidden_dim": 32, "encoder_ffn_dim": 32, "encoder_attention_heads": 2, "d_model": 32,
        "decoder_in_channels": [32] * 3, "decoder_ffn_dim": 32, "decoder_attention_heads": 2, "decoder_n_points": 2,
        "num_denoising": 0, "hidden_expansion": 0.5, "encoder_in_channels": [16, 24, 32],
    } | common  # fmt: skip
    if kind.startswith("rt_detr"):
        backbone = transformers.RTDetrResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1] * 4,
            layer_type="basic",
            out_indices=[2, 3, 4],
        )
        names = {"rt_detr": "RTDetr", "rt_detr_v2": "RTDetrV2"}
    else:
        backbone = transformers.HGNetV2Config(
            stem_channels=[3, 8, 8], embedding_size=8, hidden_sizes=[8, 16, 24, 32],
            stage_in_channels=[8, 8, 16, 24], stage_mid_channels=[8] * 4, stage_out_channels=[8, 16, 24, 32],
            stage_num_blocks=[1] * 4, stage_downsample=[False, True, True, True],
            stage_light_block=[False, False, True, True], stage_kernel_size=[3, 3, 5, 5],
            stage_numb_of_layers=[2] * 4, out_indices=[2, 3, 4],
        )  # fmt: skip
        names = {"d_fine": "DFine", "deimv2": "Deimv2"}
    config = getattr(transformers, f"{names[kind]}Config")(backbone_config=backbone, **sizes)
    return getattr(transformers, f"{names[kind]}ForObjectDetection")(config)


def _spread(built: nn.Module, size: int) -> None:
    """Give every layer's output a standard deviation of one on a picture (arXiv:1511.06422), class logits more."""
    random = torch.Generator().manual_seed(1)
    hooks = []
    with torch.no_grad():
        for name, layer in built.named_modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear) or "sampling_offsets" in name:
                continue
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=random))
            scores = "class_embed" in name or "score_head" in name
            if scores:
                layer.bias.fill_(-1.0)
            wanted = SPREAD if scores else 0.3 if "lqe" in name else 1.0

            def scale(layer: Any, _: Any, output: torch.Tensor, wanted: float = wanted) -> torch.Tensor:
                bias = torch.zeros(()) if layer.bias is None else layer.bias
                bias = (
                    bias[:, None, None] if bias.ndim and output.ndim == 4 and isinstance(layer, nn.Conv2d) else bias
                )
                factor = wanted / ((output - bias).std() + 1e-6)
                layer.weight.mul_(factor)
                return (output - bias) * factor + bias

            hooks.append(layer.register_forward_hook(scale))
        picture = torch.from_numpy(golden_frame(1, size, size)).permute(2, 0, 1)[None].float() / 255
        built(pixel_values=picture)
    for hook in hooks:
        hook.remove()
