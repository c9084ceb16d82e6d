"""Files for ncnn: the card's precision and no other, no array that is gone, no read beyond the weights."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import Detector
from edgedet.cli import main
from edgedet.errors import ArtifactError, RuntimeUnavailableError, SignatureError, UsageError
from edgedet.opening import open_artifact
from tests.colour_detector import BOX, HEIGHT, PARAM, WEIGHTS, WIDTH, card, save_colour_file

ncnn = pytest.importorskip("ncnn", reason="needs ncnn (pip install ncnn)")


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "a.ncnn"


def image(*means: int) -> np.ndarray:
    """Of those means: blue, green, red."""
    return np.broadcast_to(np.array(means, np.uint8), (1, HEIGHT, WIDTH, 3)).copy()


def run(path: Path, images: np.ndarray, **settings: Any) -> dict[str, np.ndarray]:
    _, runtime = open_artifact(path, **settings)
    try:
        return {name: value.copy() for name, value in runtime.run({"images": images}).items()}
    finally:
        runtime.close()
        runtime.close()


def test_a_detector_opens_it_by_itself_and_by_name(path: Path) -> None:
    save_colour_file(path)
    for runtime in ("auto", "ncnn", "ncnn:cpu"):
        with Detector(path, runtime=runtime, threads=1) as detector:
            assert detector.description == f"ncnn {ncnn.__version__} CPU, 1 threads" and detector.device == "cpu"
            found = detector.detect(image(10, 20, 200)[0])
            np.testing.assert_array_equal(found.boxes, [BOX])
            assert [detector.names[label] for label in found.labels] == ["red"]
            np.testing.assert_allclose(found.scores, [200 / 255], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "made"),
    [
        ({}, lambda images: images),
        ({"dtype": "float32"}, lambda images: images.astype(np.float32)),
        (
            {"dtype": "float32", "layout": "NCHW"},
            lambda images: np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32),
        ),
    ],
)
def test_pixels_come_in_every_layout_of_the_card(path: Path, changes: dict[str, Any], made: Any) -> None:
    save_colour_file(path, card(**changes))
    pixels = np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)
    found = run(path, made(pixels))
    np.testing.assert_allclose(found["scores"][0, 0], pixels.mean(axis=(0, 1, 2)) / 255, rtol=1e-5)


def test_a_batch_is_run_image_by_image(path: Path) -> None:
    save_colour_file(path, card(batch=3))
    _, runtime = open_artifact(path)
    images = np.concatenate([image(0, 51, 102), image(255, 0, 0), image(5, 5, 5)])
    found = runtime.run({"images": images})
    assert found["boxes"].shape == (3, 1, 4) and found["scores"].shape == (3, 1, 3)
    assert [(spec.name, spec.shape, spec.dtype) for spec in runtime.outputs] == [
        ("boxes", (3, 1, 4), np.float32),
        ("scores", (3, 1, 3), np.float32),
    ]
    np.testing.assert_allclose(found["scores"][:, 0] * 255, images.mean(axis=(1, 2)), rtol=1e-5)
    runtime.close()


def test_the_same_picture_gives_the_same_again(path: Path) -> None:
    """The input's memory is used anew each time, and layers that work in place must not change it."""
    first = "Input in 0 1 pixels 0=10 1=6 2=3\nBinaryOp half 1 1 pixels images 0=2 1=1 2=5.00000000e-01\n"
    param = PARAM.replace("5 5\n", "6 6\n").replace("Input in 0 1 images 0=10 1=6 2=3\n", first)
    for dtype in ("uint8", "float32"):
        save_colour_file(path, card(name="pixels", dtype=dtype), param=param)
        _, runtime = open_artifact(path)
        for _ in range(3):
            found = runtime.run({"pixels": image(100, 50, 200).astype(dtype)})
            np.testing.assert_allclose(found["scores"][0, 0] * 255, [50, 25, 100], rtol=1e-5)
        runtime.close()


def test_nothing_is_computed_or_stored_in_16_bits(path: Path) -> None:
    """ncnn does wherever the CPU can, whatever the weights are."""
    save_colour_file(path)
    _, runtime = open_artifact(path)
    settings = runtime._net.opt  # type: ignore[attr-defined]
    for name in dir(settings):
        if name.startswith(("use_fp16", "use_bf16", "use_int8", "use_vulkan")):
            assert getattr(settings, name) is False, name
    assert ncnn.Net().opt.use_fp16_storage
    page = Path(__file__).parents[2] / "docs/artifact-format.md"
    told = set(re.findall(r"`(?:opt\.)?(use_\w+)`", page.read_text("utf-8")))
    assert told == {name for name in dir(settings) if name.startswith("use_fp16")}
    assert settings.use_winograd_convolution and settings.use_packing_layout and settings.lightmode
    runtime.close()


def test_weights_that_do_not_fit_the_layers_are_refused(path: Path) -> None:
    """ncnn's own reader of memory goes on past the end."""
    for weights in (WEIGHTS[:-4], b"", WEIGHTS + bytes(4)):
        save_colour_file(path, weights=weights)
        with pytest.raises(ArtifactError, match=f"take other weights than the {len(weights)} bytes it holds"):
            Detector(path)


def test_layers_that_this_ncnn_lacks_are_named(path: Path) -> None:
    save_colour_file(path, param=PARAM.replace("Pooling", "PoolingOfTomorrow"))
    with pytest.raises(ArtifactError, match=r"has no layers PoolingOfTomorrow, which .*a.ncnn needs; update ncnn"):
        Detector(path)


def test_layers_that_are_no_layers_are_refused(path: Path) -> None:
    save_colour_file(path, param="1\n" + PARAM.partition("\n")[2])
    with pytest.raises(ArtifactError, match=r"ncnn cannot read the layers in .*a.ncnn"):
        Detector(path)


def test_layers_and_card_that_contradict_each_other_are_refused(path: Path) -> None:
    save_colour_file(path, card(name="pixels"))
    with pytest.raises(ArtifactError, match="take images, its card says pixels"):
        Detector(path)
    save_colour_file(path, replace(card(), precision="fp16"))
    with pytest.raises(ArtifactError, match="says fp16, expected fp32"):
        Detector(path)
    save_colour_file(path, param=PARAM.replace("row 0=3 1=1", "row 0=1 1=3"))
    with (
        Detector(path) as detector,
        pytest.raises(ArtifactError, match=r"gives scores \[3, 1\] while .* expected scores \[1, 3\]"),
    ):
        detector.detect(image(1, 2, 3)[0])
    save_colour_file(path, param=PARAM.replace("boxes", "other"))
    with Detector(path) as detector, pytest.raises(ArtifactError, match=r"ends with -1 while .* expected boxes"):
        detector.detect(image(1, 2, 3)[0])


def test_what_it_cannot_be_used_for_is_refused(path: Path, tmp_path: Path) -> None:
    save_colour_file(path)
    with pytest.raises(UsageError, match=r"unknown device 'gpu' for ncnn; expected cpu"):
        Detector(path, runtime="ncnn:gpu")
    with pytest.raises(UsageError, match=r"onnxruntime cannot run .*a.ncnn, which is a file for ncnn; .*say ncnn"):
        Detector(path, runtime="onnxruntime")
    graph = tmp_path / "b.onnx"
    graph.write_bytes(b"\x08\x08")
    with pytest.raises(UsageError, match=r"ncnn cannot run .*b.onnx, .*export CHECKPOINT -o b.ncnn"):
        Detector(graph, runtime="ncnn")


def test_without_the_package_it_says_how_to_get_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_colour_file(path)
    plain = importlib.util.find_spec
    monkeypatch.setattr("edgedet.opening.find_spec", lambda name: None if name == "ncnn" else plain(name))
    with pytest.raises(RuntimeUnavailableError, match=r"needs the package 'ncnn', .*pip install 'edgedet\[ncnn\]'"):
        Detector(path)


def test_its_threads_sleep_and_the_programs_own_choice_stays() -> None:
    code = (
        "import os; {first}from edgedet.runtimes.ncnn_library import ncnn; print(os.environ.get('OMP_WAIT_POLICY'))"
    )
    for first, left in (("", "None"), ("os.environ['OMP_WAIT_POLICY'] = 'ACTIVE'; ", "ACTIVE")):
        words = [sys.executable, "-c", code.format(first=first)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == left, done.stderr
    shown = subprocess.run(
        [sys.executable, "-c", code.format(first="os.environ['OMP_DISPLAY_ENV'] = 'TRUE'; ")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "OMP_WAIT_POLICY" in shown.stderr:  # of libgomp; others say it otherwise
        assert "OMP_WAIT_POLICY = 'PASSIVE'" in shown.stderr


def test_opening_gives_memory_back(path: Path) -> None:
    """What was read of the file is not kept beside what ncnn made of it."""
    size = 24 << 20
    large = np.zeros(size // 4, "<f4").tobytes()
    extra = f"MemoryData large 0 1 unread 0={size // 4}\n"
    param = PARAM.replace("5 5\n", "6 6\n") + extra
    save_colour_file(path, param=param, weights=WEIGHTS + large)
    code = (
        "import sys, resource\nfrom edgedet.opening import open_artifact\n"
        "def held():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()\n"
        f"import edgedet.runtimes.ncnn, zipfile\nbefore = held()\n"
        f"card, runtime = open_artifact({str(path)!r})\nprint(held() - before)\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert int(done.stdout) < 1.5 * size, done.stderr


def test_it_opens_from_memory_and_its_signature_is_asked_for(path: Path) -> None:
    pytest.importorskip("cryptography", reason="needs cryptography (pip install 'edgedet[signing]')")
    save_colour_file(path)
    with Detector(path.read_bytes()) as detector:
        np.testing.assert_array_equal(detector.detect(image(10, 20, 200)[0]).boxes, [BOX])
    key, public = str(path.with_name("owner.key")), path.with_name("owner.pub")
    assert main(["keygen", key[:-4]]) == 0
    with pytest.raises(SignatureError):
        Detector(path, require_signature=public)
    assert main(["sign", str(path), "--key", key]) == 0
    with Detector(path, require_signature=public) as detector:
        np.testing.assert_array_equal(detector.detect(image(10, 20, 200)[0]).boxes, [BOX])
    assert main(["inspect", str(path), "--verify", "--require-signature", str(public)]) == 0
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    with pytest.raises(SignatureError):
        Detector(path, require_signature=public)
