"""Snippets of the guides run in the folder of the examples; tutorials have a test of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

pytest.importorskip("edgedet.export.pipeline", reason="needs edgedet[export]")

from edgedet import Detector
from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_file import write_engine
from edgedet.cli import main
from edgedet.errors import EdgedetError
from edgedet.export.training.settings import read_settings, read_toml
from edgedet.opening import read_card
from tests.docs.pages import ROOT, Block, blocks, name_of, pages
from tests.keypoint_detector import save_keypoint_graph
from tests.masked_detector import save_masked_graph
from tests.once import example_files

Names = dict[str, Any]

ELSEWHERE = {"docs/artifact-format.md": "tests/edgedet/test_artifact_format.py"}
"""Pages whose Python runs in a test of their own."""


def guides(*languages: str) -> list[Block]:
    """Blocks of all pages but the tutorials and those that run elsewhere."""
    found = [page for page in pages() if page.parent.name != "tutorials" and name_of(page) not in ELSEWHERE]
    return [block for page in found for block in blocks(page) if block.language in languages]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(example_files(tmp_path_factory), tmp_path_factory.mktemp("snippets") / "files"))


def execute(block: Block, names: Names) -> Names:
    exec(compile("\n" * (block.line - 1) + block.text, name_of(block.page), "exec"), names)
    return names


def detected(path: Path) -> list[tuple[list[float], float, int]]:
    """What the toy finds in a picture: box, score, label from 0."""
    with Detector("model.onnx") as detector:
        found = detector.detect(cv2.imread(str(path)))
    return [(box.tolist(), float(score), int(label)) for box, score, label, _ in found]


def readme(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    Path("model-int8.onnx").write_bytes(Path("model.onnx").read_bytes())
    execute(block, {"frame": cv2.imread("frame.png")})
    assert capsys.readouterr().out.startswith("green 0.875 [24. 18. 60. 54.]")


def settings(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    detection = pytest.importorskip("torchvision.models.detection")
    arch, names = "ssdlite320_mobilenet_v3_large", ["camera", "phone"]
    model = getattr(detection, arch)(weights=None, weights_backbone=None, num_classes=3)
    execute(block, {"torch": torch, "model": model, "arch": arch, "names": names})
    saved = torch.load("model.pt", weights_only=True)
    stated = read_settings(saved["detector"], where="model.pt")
    assert list(stated.classes or ()) == names and stated.colour == "RGB" and stated.image_mean is not None


def agrees_with_the_graph(boxes: Path) -> None:
    arguments = ["parity", "model.onnx", "--reference", str(boxes), "--frames", "photos", "--min-score", "0.5"]
    assert main(arguments) == 0


def boxes_of_torchvision(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    import PIL.Image
    import PIL.ImageOps
    import torch

    opened: list[Path] = []

    class Model:
        def eval(self) -> Any:
            return self

        def __call__(self, images: list[Any]) -> list[Any]:
            rows = detected(opened[-1])
            return [
                {
                    "boxes": torch.tensor([box for box, _, _ in rows]),
                    "labels": torch.tensor([label + 1 for _, _, label in rows]),
                    "scores": torch.tensor([score for _, score, _ in rows]),
                }
            ]

    def open_image(name: Path) -> Any:
        opened.append(name)
        return PIL.Image.open(name)

    names: Names = {
        "torch": torch, "json": json, "Path": Path, "ImageOps": PIL.ImageOps,
        "Image": SimpleNamespace(open=open_image), "to_tensor": lambda image: image,
    }  # fmt: skip
    execute(block, names)
    pictures = sorted(Path("photos").glob("*.png"))
    # The page says: beside the pictures, or with --frames; file names are looked up there.
    names["write_boxes"](Model(), ("blue", "green", "red"), pictures, "boxes.json")
    content = json.loads(Path("boxes.json").read_text(), parse_constant=str)
    assert len(content["images"]) == len(pictures) == len(content["results"])
    for image in content["images"]:
        image["file_name"] = Path(image["file_name"]).name
    Path("boxes.json").write_text(json.dumps(content))
    agrees_with_the_graph(Path("boxes.json"))


def boxes_of_ultralytics(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    def predict(name: Path, **options: Any) -> list[Any]:
        height, width = cv2.imread(str(name)).shape[:2]
        rows = torch.tensor([[*box, score, label] for box, score, label in detected(name)])
        return [SimpleNamespace(orig_shape=(height, width), boxes=SimpleNamespace(data=rows))]

    model = SimpleNamespace(predict=predict, names={0: "blue", 1: "green", 2: "red"})
    names: Names = {"images": [], "results": [], "model": model}
    execute(block, names | {"pictures": sorted(Path("photos").glob("*.png"))})
    written = execute(
        block, names | {"pictures": sorted(Path("photos").glob("*.png")), "images": [], "results": []}
    )
    for image in written["images"]:
        image["file_name"] = Path(image["file_name"]).name
    content = {key: written[key] for key in ("images", "categories", "results")}
    Path("boxes-ultralytics.json").write_text(json.dumps(content))
    agrees_with_the_graph(Path("boxes-ultralytics.json"))


def operators(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    execute(block, {})


def rtx(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    write_engine(Path("model.rtx"), read_card("model.onnx"), b"ptrt" + bytes(92))
    # There is no such GPU here, or the bytes are no plan: a sentence either way.
    with pytest.raises(EdgedetError):
        execute(block, {})


def live(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder takes the camera's place."""
    text = block.text.replace("stream(0,", 'stream("photos",')
    assert text != block.text
    execute(Block(block.page, block.language, text, block.line), {})
    assert capsys.readouterr().out.count(" dropped\n") == 12


def watched(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """The same; each picture shows one thing, which has a number."""
    text = block.text.replace("stream(0,", 'stream("photos",')
    assert text != block.text
    execute(Block(block.page, block.language, text, block.line), {})
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("[") and line != "[]" for line in lines) == 12


def masks(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """The toy, whose objects fill their boxes."""
    save_masked_graph(Path("masked.onnx"))
    names = execute(block, {})
    assert names["pixels"].sum() > 900 and len(names["outlines"]) == len(names["rows"]) == 1
    assert names["rows"][0]["segmentation"]["size"] == list(names["pixels"].shape)


def keypoints(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """The toy, whose keypoints are the corners of its box."""
    save_keypoint_graph(Path("pointed.onnx"))
    names = execute(block, {})
    assert names["places"].tolist() == [[24, 18]] and names["rows"][0]["num_keypoints"] == 1
    assert Path("drawn.png").is_file()


def segmentation(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """The toy; its areas are those that the page says."""
    names = execute(block, {})
    assert json.dumps(names["pixels"]) in block.text and names["where"].sum() == names["pixels"]["green"]
    assert names["labels"].shape == names["picture"].shape[:2] == names["frame"].shape[:2]


def signed(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """The graph, signed by the owner, takes the engine's place."""
    pytest.importorskip("cryptography", reason="needs edgedet[signing]")
    if not Path("owner.key").exists():
        assert main(["keygen", "owner"]) == 0
        Path("signed.onnx").write_bytes(Path("model.onnx").read_bytes())
        assert main(["sign", "signed.onnx", "--key", "owner.key"]) == 0
    text = block.text.replace("model.trt", "signed.onnx")
    given = {
        "Detector": Detector,
        "unlock": lambda name: Path(name.removesuffix(".encrypted")).read_bytes(),
        "signature": Path("signed.onnx.sig").read_bytes(),
    }
    names = execute(Block(block.page, block.language, text, block.line), given)
    assert len(names["detector"].detect(cv2.imread("frame.png"))) > 0


def proposals(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """An untrained detector; a folder takes the video's place."""
    import torch

    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model
    from tests.export.test_families import detector

    torch.save(detector("fasterrcnn_mobilenet_v3_large_320_fpn"), "whole.pt")
    export_model("whole.pt", "second_stage.onnx", ExportOptions(outside_proposals=8, trust="code"))
    text = block.text.replace("street.mp4", "photos")
    assert text != block.text
    names = execute(Block(block.page, block.language, text, block.line), {"frame": cv2.imread("frame.png")})
    assert names["detector"].card.input.proposals == 8
    assert capsys.readouterr().out.count("Detections(") == 12


def cascade(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    execute(block, {"frame": cv2.imread("frame.png")})
    assert capsys.readouterr().out == "('blue', 'green', 'red') [[24. 18. 60. 54.]] [[24. 18. 60. 54.]]\n"


RUN: dict[str, list[Callable[[Block, pytest.CaptureFixture[str]], None]]] = {
    "README.md": [readme],
    "docs/cascades.md": [cascade],
    "docs/checkpoints.md": [settings, boxes_of_torchvision, boxes_of_ultralytics],
    "docs/keypoints.md": [keypoints],
    "docs/live.md": [live],
    "docs/masks.md": [masks],
    "docs/operators.md": [operators],
    "docs/proposals.md": [proposals],
    "docs/segmentation.md": [segmentation],
    "docs/signing.md": [signed, signed],
    "docs/tensorrt_rtx.md": [rtx],
    "docs/watch.md": [watched],
}
"""How the Python blocks of each page are run, in order."""


def test_every_python_block_is_run() -> None:
    shown: dict[str, int] = {}
    for block in guides("python", "py"):
        shown[name_of(block.page)] = shown.get(name_of(block.page), 0) + 1
    assert shown == {page: len(runs) for page, runs in RUN.items()}
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text("utf-8")


@pytest.mark.parametrize("block", guides("python", "py"), ids=lambda block: block.name)
def test_python(
    block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    same = [each for each in guides("python", "py") if each.page == block.page]
    RUN[name_of(block.page)][same.index(block)](block, capsys)


@pytest.mark.parametrize("block", guides("toml"), ids=lambda block: block.name)
def test_toml(block: Block, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(block.text)
    assert read_toml(tmp_path / "model.toml").stated()


def test_json() -> None:
    found = [block for page in pages() for block in blocks(page) if block.language == "json"]
    assert found
    for block in found:
        ModelCard.from_json(block.text)


def test_languages_are_those_that_are_looked_at() -> None:
    known = {"", "sh", "bash", "python", "toml", "json", "text", "cpp", "{toctree}", "{eval-rst}"}
    assert {block.language for page in pages() for block in blocks(page)} <= known
