"""A whole quantisation: budget kept, culprits named, nothing stale believed, killed runs resumed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgedet.calibration import tensorrt_rules
from edgedet.calibration.judge import Reader, Run
from edgedet.calibration.measurement_cache import Ledger, digest_of
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.errors import AccuracyBudgetError, ArtifactError, CalibrationError
from edgedet.proof.agreement import agreement


class SmoothJudge:
    """Agreement with the float graph; counts how often it is asked, and can be told to fail."""

    name = "agreement"

    def __init__(self, tiny: ModuleType, model: onnx.ModelProto, *, fail_after: int | None = None) -> None:
        session = onnxruntime.InferenceSession(model.SerializeToString())
        outputs = [output.name for output in session.get_outputs()]
        self._reader = Reader(tiny.card(), outputs)
        self._frames = tiny.frames(6, seed=9)
        self._expected = self._read(
            lambda frame: dict(zip(outputs, session.run(outputs, {"images": frame}), strict=True))
        )
        self.digest = digest_of("smooth")
        self.calls = 0
        self._fail_after = fail_after

    def _read(self, run: Run) -> list[Any]:
        return list(self._reader(run, self._frames))

    def __call__(self, run: Run) -> float:
        self.calls += 1
        if self._fail_after is not None and self.calls > self._fail_after:
            raise KeyboardInterrupt
        return agreement(self._expected, self._read(run))


def test_a_sound_network_stays_in_int8_and_keeps_tensorrts_rules(tiny: ModuleType) -> None:
    model = tiny.tiny_detector()
    done = quantise(
        model, tiny.card(), tiny.frames(16), judge=SmoothJudge(tiny, model), options=QuantiseOptions(max_drop=0.2)
    )
    assert done.report["macs_int8"] > 0.8
    assert done.report["kept_float"] == {"spread": "depthwise: bound by memory, INT8 saves no time over FP16"}
    assert done.report["before"] - done.report["after"] <= 0.2
    assert tensorrt_rules.violations(done.model) == []
    assert [value.name for value in done.model.graph.input] == ["images"]


def test_a_hostile_layer_is_found_and_named_with_its_channel(tiny: ModuleType) -> None:
    model = tiny.tiny_detector(hostile="narrow")
    judge = SmoothJudge(tiny, model)
    options = QuantiseOptions(max_drop=0.25, over_budget="keep_best")
    done = quantise(model, tiny.card(), tiny.frames(16), judge=judge, options=options)
    # `narrow` makes the channel, `head` (behind SiLU, so nothing can be moved) is the layer it ruins.
    assert "channel 5 of its input" in done.report["kept_float"]["head"]
    assert "of agreement alone" in done.report["kept_float"]["head"]
    assert "stem" not in done.report["kept_float"]
    assert done.report["before"] - done.report["after"] <= 0.25


def test_a_hostile_channel_between_relus_is_moved_away_instead(tiny: ModuleType) -> None:
    model = tiny.tiny_detector(hostile="widen")
    options = QuantiseOptions(max_drop=0.5, over_budget="keep_best")
    done = quantise(model, tiny.card(), tiny.frames(16), judge=SmoothJudge(tiny, model), options=options)
    assert done.report["equalised"]["narrow"] < 0.5


def test_a_budget_that_cannot_be_kept_is_refused_unless_the_best_is_wanted(tiny: ModuleType) -> None:
    model = tiny.tiny_detector(hostile="narrow")
    judge = SmoothJudge(tiny, model)
    strict = QuantiseOptions(max_drop=0.0001)
    with pytest.raises(AccuracyBudgetError, match=r"multiply-adds in INT8.*--max-drop") as caught:
        quantise(model, tiny.card(), tiny.frames(8), judge=judge, options=strict)
    assert caught.value.exit_code == 1
    lenient = QuantiseOptions(max_drop=0.0001, over_budget="keep_best")
    kept = quantise(model, tiny.card(), tiny.frames(8), judge=judge, options=lenient)
    assert any("the best INT8 graph" in warning for warning in kept.warnings)


def test_who_allows_everything_to_be_lost_gets_every_layer(tiny: ModuleType) -> None:
    model = tiny.tiny_detector(hostile="narrow")

    class Harsh(SmoothJudge):
        def __call__(self, run: Run) -> float:
            return float(super().__call__(run) > 0.999)

    judge = Harsh(tiny, model)
    done = quantise(model, tiny.card(), tiny.frames(8), judge=judge, options=QuantiseOptions(max_drop=1.0))
    assert (done.report["before"], done.report["after"]) == (1.0, 0.0)
    assert list(done.report["kept_float"]) == ["spread"]


def test_a_killed_run_resumes_and_leaves_only_whole_files(tiny: ModuleType, tmp_path: Path) -> None:
    model = tiny.tiny_detector(hostile="widen")
    options = QuantiseOptions(max_drop=0.3, over_budget="keep_best", cache=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        quantise(model, tiny.card(), tiny.frames(16), judge=SmoothJudge(tiny, model, fail_after=2), options=options)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".ranges"]
    resumed = SmoothJudge(tiny, model)
    second = quantise(model, tiny.card(), tiny.frames(16), judge=resumed, options=options)
    afresh = SmoothJudge(tiny, model)
    first = quantise(
        model,
        tiny.card(),
        tiny.frames(16),
        judge=afresh,
        options=QuantiseOptions(max_drop=0.3, over_budget="keep_best"),
    )
    assert second.report["resumed_figures"] > 0
    assert resumed.calls == afresh.calls - 2
    assert second.report["kept_float"] == first.report["kept_float"]


def test_other_images_or_another_graph_never_meet_old_ranges(tiny: ModuleType, tmp_path: Path) -> None:
    model = tiny.tiny_detector()
    options = QuantiseOptions(max_drop=1.0, cache=tmp_path)
    judge = SmoothJudge(tiny, model)

    def scale(frames: list[np.ndarray], graph: onnx.ModelProto = model) -> float:
        done = quantise(graph, tiny.card(), frames, judge=judge, options=options)
        constant = next(c for c in done.model.graph.initializer if c.name == "planar_out_scale")
        return float(onnx.numpy_helper.to_array(constant))

    bright = tiny.frames(8)
    assert scale([frame // 4 for frame in bright]) < 0.5 * scale(bright)
    assert len(list(tmp_path.glob("*.ranges"))) == 2


def test_a_ledger_of_something_else_is_not_believed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "a" * 64)
    assert ledger.figure("map", lambda: 0.25) == 0.25
    # The same file name, another digest: as if the hash's beginning collided, or a file had been renamed.
    stranger = Ledger(tmp_path, "a" * 20 + "b" * 44)
    assert stranger.figure("map", lambda: 0.5) == 0.5
    (tmp_path / f"{'a' * 20}.json").write_text("{half a fi")
    assert Ledger(tmp_path, "a" * 64).figure("map", lambda: 0.75) == 0.75


def test_damaged_arrays_and_those_of_something_else_are_measured_again(tmp_path: Path) -> None:
    digest = "a" * 64
    Ledger(tmp_path, digest).arrays(lambda: {"scale": np.array([0.5])})
    assert Ledger(tmp_path, digest).arrays(dict)["scale"] == [0.5]
    assert Ledger(tmp_path, "a" * 20 + "b" * 44).arrays(lambda: {"scale": np.array([0.25])})["scale"] == [0.25]
    stored = tmp_path / f"{digest[:20]}.ranges"
    whole = stored.read_bytes()
    for damaged in (b"", whole[:40], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        stored.write_bytes(damaged)
        again = Ledger(tmp_path, "a" * 20 + "b" * 44).arrays(lambda: {"scale": np.array([0.75])})
        assert again["scale"] == [0.75], "never what was damaged"


def test_frames_the_graph_does_not_take_are_refused(tiny: ModuleType) -> None:
    wrong = [frame.astype(np.float32) for frame in tiny.frames(4)]
    with pytest.raises(CalibrationError, match=r"float32 \[1, 32, 32, 3\], the graph takes uint8"):
        quantise(tiny.tiny_detector(), tiny.card(), wrong)


def test_a_quantised_graph_is_not_quantised_again(tiny: ModuleType) -> None:
    model = tiny.tiny_detector()
    done = quantise(
        model, tiny.card(), tiny.frames(8), judge=SmoothJudge(tiny, model), options=QuantiseOptions(max_drop=0.5)
    )
    with pytest.raises(ArtifactError, match="already quantised"):
        quantise(done.model, tiny.card(), tiny.frames(8))
