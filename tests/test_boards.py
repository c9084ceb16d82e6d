"""Images, page and extras say of the boards what the table says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgedet.machine.jetpack import TABLE, row_of

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "jetson.md").read_text("utf-8")


def rows(header: str) -> list[list[str]]:
    """Cells of the page's table that begins with this header."""
    table = PAGE[PAGE.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_page_has_the_table_s_rows() -> None:
    assert rows("| JetPack | Jetson Linux") == [
        [
            row.name, row.l4t, row.tensorrt, row.cuda, row.python, row.ubuntu, ", ".join(row.boards),
            f"{row.onnxruntime} at most" if row.onnxruntime else "any",
        ]
        for row in TABLE
        if row.has_engines
    ]  # fmt: skip


def test_the_page_has_the_table_s_deepstream() -> None:
    assert rows("| DeepStream | on JetPack") == [
        [made_for.version, row.name, made_for.tensorrt] for row in TABLE for made_for in row.deepstream
    ]


@pytest.mark.parametrize(("image", "l4t"), [("jetpack6", "36.4.3"), ("jetpack7", "39.2.1")])
def test_the_images_are_of_the_table_s_versions(image: str, l4t: str) -> None:
    text = (ROOT / "docker" / f"{image}.Dockerfile").read_text("utf-8")
    row = row_of(l4t)
    assert row is not None
    (archive,) = re.findall(r"jetson/common (\S+) main", text)
    assert archive == row.archive
    (tensorrt,) = re.findall(r"(?:python3-libnvinfer=|TENSORRT=)(\d[\d.]*\d)", text)
    assert f"{tensorrt}.".startswith(f"{row.tensorrt}.")
    (nvrtc,) = re.findall(r"nvidia-cuda-nvrtc\S*==([\d.]+)\.\*", text)
    assert nvrtc == row.cuda
    assert re.findall(r"onnxruntime==([\d.]+)", text) == ([row.onnxruntime] if row.onnxruntime else [])
    assert f"docker build -f docker/{image}.Dockerfile" in text and f"docker/{image}.Dockerfile" in PAGE


def test_the_gpu_extra_promises_nothing_on_arm64() -> None:
    (line,) = re.findall(r'^gpu = \["(.+)"\]$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    wanted = Requirement(line)
    assert wanted.name == "onnxruntime-gpu" and wanted.marker is not None
    assert not wanted.marker.evaluate({"platform_machine": "aarch64"})
    assert wanted.marker.evaluate({"platform_machine": "x86_64"})
    assert wanted.marker.evaluate({"platform_machine": "AMD64"})
