"""Frames become input tensors exactly as the training frameworks make them."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet import preprocess
from edgedet.artifacts.card import InputSpec, ResizeRule
from edgedet.preprocess import Preprocessor
from edgedet.resizing import antialias

RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (90, 160, 3), np.uint8)
YOLO = ResizeRule("letterbox", place="center", rounding="round")
FOREIGN = InputSpec(64, 64, dtype="float32", layout="NCHW", colour="RGB", normalise="host", scale=1 / 255)


def test_letterbox_in_uint8_is_opencv_s_resize_with_a_border() -> None:
    preprocessor = Preprocessor(InputSpec(64, 64), YOLO)
    geometry = preprocessor.prepare(FRAME)
    content = preprocessor.tensor[0, geometry.top : geometry.top + 36]
    np.testing.assert_array_equal(content, cv2.resize(FRAME, (64, 36)))
    assert (preprocessor.tensor[0, : geometry.top] == 114).all()
    assert (preprocessor.tensor[0, geometry.top + 36 :] == 114).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 96), st.integers(8, 96))
def test_resizing_in_float32_is_bilinear(height: int, width: int, rows: int, columns: int) -> None:
    frame = np.random.default_rng(height * 301 + width).integers(0, 256, (height, width, 3), np.uint8)
    preprocessor = Preprocessor(InputSpec(rows, columns, dtype="float32"), ResizeRule("stretch"))
    preprocessor.prepare(frame)
    expected = interpolate(interpolate(frame.astype(np.float64), rows, axis=0), columns, axis=1)
    # OpenCV computes its weights in float32.
    assert np.abs(preprocessor.tensor[0] - expected).max() < 5e-3


def interpolate(image: np.ndarray, size: int, *, axis: int) -> np.ndarray:
    """Along one axis, with half-pixel centres."""
    last = image.shape[axis] - 1
    places = np.clip((np.arange(size) + 0.5) * image.shape[axis] / size - 0.5, 0, last)
    low = places.astype(int)
    weights = (places - low).reshape([-1 if axis == other else 1 for other in range(3)])
    return image.take(low, axis) * (1 - weights) + image.take(np.minimum(low + 1, last), axis) * weights


@pytest.mark.parametrize("rows", [40, 120])
def test_bands_and_phases_meet_without_a_seam(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedet.preprocess.BAND_BYTES", 160 * 12 * 9)
    preprocessor = Preprocessor(InputSpec(rows, 50, dtype="float32"), ResizeRule("stretch"))
    preprocessor.prepare(FRAME)
    whole = cv2.resize(FRAME.astype(np.float32), (50, rows))
    assert np.abs(preprocessor.tensor[0] - whole).max() < 5e-3


def test_float_resizing_equals_torch_s_interpolation() -> None:
    torch = pytest.importorskip("torch")
    preprocessor = Preprocessor(InputSpec(48, 48, dtype="float32"), ResizeRule("stretch"))
    preprocessor.prepare(FRAME)
    image = torch.from_numpy(FRAME).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(image, (48, 48), mode="bilinear", align_corners=False)[0]
    # torch computes the weights in float32: on noise that is some thousandths of a grey level, rounding is 0.5.
    assert np.abs(preprocessor.tensor[0] - theirs.permute(1, 2, 0).numpy()).max() < 5e-3


def test_foreign_networks_get_rgb_planes_divided_by_255() -> None:
    preprocessor = Preprocessor(FOREIGN, YOLO)
    geometry = preprocessor.prepare(FRAME)
    expected = np.full((64, 64, 3), 114, np.uint8)
    expected[geometry.top : geometry.top + 36] = cv2.resize(FRAME, (64, 36))
    planes = expected[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(preprocessor.tensor[0], planes)


def test_mean_and_std_are_applied_in_the_trained_order() -> None:
    spec = InputSpec(
        90, 160, dtype="float32", normalise="host", scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.4)
    )
    preprocessor = Preprocessor(spec, ResizeRule("stretch"))
    preprocessor.prepare(FRAME)
    # The tensor is BGR, mean and std are given for RGB.
    expected = (FRAME / 255 - np.array([0.3, 0.4, 0.5])) / np.array([0.4, 0.2, 0.1])
    np.testing.assert_allclose(preprocessor.tensor[0], expected, atol=1e-5)


def test_the_border_moves_with_the_frame_s_shape() -> None:
    preprocessor = Preprocessor(InputSpec(64, 64), YOLO)
    preprocessor.prepare(FRAME)
    preprocessor.prepare(np.ascontiguousarray(FRAME.transpose(1, 0, 2)))
    fresh = Preprocessor(InputSpec(64, 64), YOLO)
    fresh.prepare(np.ascontiguousarray(FRAME.transpose(1, 0, 2)))
    np.testing.assert_array_equal(preprocessor.tensor, fresh.tensor)


def test_slots_of_a_batch_do_not_disturb_each_other() -> None:
    preprocessor = Preprocessor(InputSpec(64, 64, batch=2), YOLO)
    preprocessor.prepare(FRAME, 0)
    first = preprocessor.tensor[0].copy()
    preprocessor.prepare(FRAME[:, :50], 1)
    np.testing.assert_array_equal(preprocessor.tensor[0], first)
    assert not np.array_equal(preprocessor.tensor[1], first)


def test_every_slot_of_a_batch_has_its_own_border() -> None:
    preprocessor = Preprocessor(InputSpec(64, 64, batch=2), YOLO)
    for frames in ([FRAME, FRAME], [FRAME, FRAME[:, :50]], [FRAME, FRAME]):
        for slot, frame in enumerate(frames):
            preprocessor.prepare(frame, slot)
        for slot, frame in enumerate(frames):
            alone = Preprocessor(InputSpec(64, 64), YOLO)
            alone.prepare(frame)
            np.testing.assert_array_equal(preprocessor.tensor[slot], alone.tensor[0])


def test_the_buffer_is_kept() -> None:
    preprocessor = Preprocessor(InputSpec(64, 64), YOLO)
    before = preprocessor.tensor
    preprocessor.prepare(FRAME)
    assert preprocessor.tensor is before


@pytest.mark.parametrize("spec", [InputSpec(64, 64), InputSpec(64, 64, dtype="float32"), FOREIGN])
@pytest.mark.parametrize("shape", [(1, 1), (90, 160), (64, 64), (1, 500), (500, 1)])
def test_the_frame_is_only_read(spec: InputSpec, shape: tuple[int, int]) -> None:
    frame = RNG.integers(0, 256, (*shape, 3), np.uint8)
    before = frame.copy()
    frame.flags.writeable = False
    Preprocessor(spec, YOLO).prepare(frame)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("spec", [InputSpec(64, 64), InputSpec(64, 64, dtype="float32"), FOREIGN])
def test_every_accepted_form_of_a_picture_gives_the_same_tensor(spec: InputSpec) -> None:
    grey = np.repeat(FRAME[:, :, :1], 3, axis=2)

    def tensor(frame: np.ndarray) -> np.ndarray:
        preprocessor = Preprocessor(spec, YOLO)
        preprocessor.prepare(frame)
        return preprocessor.tensor

    wanted = tensor(grey)
    for form in (grey[:, :, 0], grey[:, :, :1], np.dstack([grey, grey[:, :, 0]]), np.asfortranarray(grey)):
        np.testing.assert_array_equal(tensor(form), wanted)
    for dtype in (np.float32, np.float64, np.float16):
        np.testing.assert_allclose(tensor(grey.astype(dtype)), wanted, atol=1e-3)


def test_an_enormous_frame_is_resized_like_any_other() -> None:
    frame = np.zeros((6000, 8000, 3), np.uint8)
    frame[:, 4000:] = 200
    preprocessor = Preprocessor(InputSpec(64, 64, dtype="float32"), ResizeRule("stretch"))
    preprocessor.prepare(frame)
    assert preprocessor.tensor[0, :, 40].min() == 200
    assert preprocessor.tensor[0, :, 20].max() == 0


def test_the_rule_none_takes_the_frame_as_it_is() -> None:
    preprocessor = Preprocessor(InputSpec(0, 0), ResizeRule("none"))
    geometry = preprocessor.prepare(FRAME)
    np.testing.assert_array_equal(preprocessor.tensor, FRAME[None])
    assert (geometry.height, geometry.width, geometry.scale_x) == (90, 160, 1.0)


def test_bands_are_exactly_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    # 37 phases are too many, two steps make two bands.
    frame = np.random.default_rng(3).integers(0, 256, (180, 160, 3), np.uint8)
    monkeypatch.setattr("edgedet.preprocess.BAND_BYTES", 1)
    preprocessor = Preprocessor(InputSpec(74, 50, dtype="float32"), ResizeRule("stretch"))
    preprocessor.prepare(frame)
    np.testing.assert_array_equal(preprocessor.tensor[0], cv2.resize(frame.astype(np.float32), (50, 74)))


@pytest.fixture
def large_frame(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    frame = np.random.default_rng(1).integers(0, 256, (540, 960, 3), np.uint8)
    monkeypatch.setattr(antialias, "SHARED_BYTES", frame.nbytes)
    return frame


ANTIALIASED = (InputSpec(160, 284), ResizeRule("stretch", antialias=True))


@pytest.mark.parametrize("band_bytes", [960 * 12 * 3, preprocess.BAND_BYTES])
def test_rows_of_one_phase_after_another_are_the_whole(
    band_bytes: int, large_frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cv2.resize(large_frame.astype(np.float32), (284, 160))
    monkeypatch.setattr(preprocess, "BAND_BYTES", band_bytes)
    preprocessor = Preprocessor(InputSpec(160, 284, dtype="float32"), ResizeRule("stretch"), threads=2)
    preprocessor.prepare(large_frame)
    assert np.abs(preprocessor.tensor[0] - whole).max() < 5e-3


def test_a_second_thread_shares_antialiased_shrinking(
    large_frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, run = set(), antialias._Part.__call__

    def watched(part: antialias._Part, *frames: np.ndarray) -> None:
        workers.add(threading.get_ident())
        run(part, *frames)

    monkeypatch.setattr(antialias._Part, "__call__", watched)
    alone, shared = Preprocessor(*ANTIALIASED), Preprocessor(*ANTIALIASED, threads=2)
    alone.prepare(large_frame)
    assert len(workers) == 1
    shared.prepare(large_frame)
    assert len(workers) == 2
    np.testing.assert_array_equal(shared.tensor, alone.tensor)


def test_errors_of_the_second_thread_reach_the_caller(
    large_frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = threading.get_ident()

    def fail(*arguments: object) -> None:
        if threading.get_ident() != main:
            raise MemoryError("beside")

    monkeypatch.setattr(antialias._Part, "__call__", fail)
    with pytest.raises(MemoryError, match="beside"):
        Preprocessor(*ANTIALIASED, threads=2).prepare(large_frame)


def test_without_a_second_thread_to_be_had_one_does_it_all(
    large_frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, shared = Preprocessor(*ANTIALIASED), Preprocessor(*ANTIALIASED, threads=2)
    alone.prepare(large_frame)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    shared.prepare(large_frame)
    np.testing.assert_array_equal(shared.tensor, alone.tensor)


def test_frames_of_three_by_three_pixels_keep_their_colours() -> None:
    frame = np.random.default_rng(2).integers(0, 256, (3, 3, 3), np.uint8)
    spec = InputSpec(3, 3, dtype="float32", layout="NCHW", colour="RGB", normalise="host", scale=1.0)
    preprocessor = Preprocessor(spec, ResizeRule("stretch"))
    preprocessor.prepare(frame)
    np.testing.assert_array_equal(preprocessor.tensor[0], frame[:, :, ::-1].transpose(2, 0, 1))
