"""NMS inside a foreign graph is cut out, and ours gives the same with the thresholds it had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgedet import Detections, Detector
from edgedet.errors import ArtifactError, UsageError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.onnxruntime_import import onnxruntime
from tests.export.adoption.graphs import CENTRES, CORNERS, Written, best_class_nms, frame, plugin
from tests.export.foreign_heads import SIDE, ULTRALYTICS, Head, save_head


def detected(path: Path, **options: Any) -> tuple[Detections, Any]:
    """What our graph of ``path`` finds, and its card."""
    report = export_model(path, path.with_name("ours.onnx"), ExportOptions(**{"family": "yolo", **options}))
    with Detector(report.path) as detector:
        return detector.detect(frame()), report


def plain(folder: Path, head: Head = CENTRES, **options: Any) -> Detections:
    """What the same network finds without NMS in its file."""
    return detected(save_head(folder / "plain.onnx", head, ULTRALYTICS), **options)[0]


def require_equal(found: Detections, expected: Detections) -> None:
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_the_operators_thresholds_are_read_and_its_choice_is_ours(tmp_path: Path) -> None:
    path = best_class_nms(Written(tmp_path / "net.onnx"), conf=0.55, iou=0.4, most=7)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = frame()[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    (rows,) = session.run(None, {"images": image})
    found, report = detected(path)
    assert len(rows) == 7
    rows[:, :4] = rows[:, :4].clip(0, SIDE)
    # Boxes that lie outside of the picture are none of ours.
    rows = rows[(rows[:, 2:4] > rows[:, :2]).all(axis=1)]
    rows = rows[np.argsort(-rows[:, 4])]
    assert len(rows) > 4
    np.testing.assert_allclose(found.scores, rows[:, 4], atol=1e-5)
    np.testing.assert_allclose(found.boxes, rows[:, :4], atol=1e-3)
    np.testing.assert_array_equal(found.labels, rows[:, 5])
    output = report.card.output
    assert (output.score_threshold, output.iou_threshold, output.max_detections) == (0.55, 0.4, 7)
    assert any("its NMS (NonMaxSuppression end/chosen: score 0.55, IoU 0.4, 7 " in n for n in report.notes)


def test_no_distance_between_classes_lets_all_suppress_each_other(tmp_path: Path) -> None:
    apart = best_class_nms(Written(tmp_path / "apart.onnx"), iou=0.2, most=300)
    together = best_class_nms(Written(tmp_path / "together.onnx"), iou=0.2, most=300, apart=0.0)
    found, report = detected(together)
    assert 3 < len(found) < len(detected(apart)[0])
    assert "all classes together" in " ".join(report.notes)
    with pytest.raises(UsageError, match="all classes suppress each other"):
        detected(together, nms="runtime")


@pytest.mark.parametrize(("head", "coding"), [(CENTRES, 1), (CORNERS, 0)])
def test_efficient_nms(tmp_path: Path, head: Head, coding: int) -> None:
    """Its attributes say the form of its boxes, and a box is found under all its classes."""
    settings = {"score_threshold": 0.6, "iou_threshold": 0.4, "max_output_boxes": 40, "box_coding": coding}
    path = plugin(Written(tmp_path / "net.onnx", head), "EfficientNMS_TRT", **settings, background_class=[-1])
    found, report = detected(path)
    assert (report.card.output.label_mode, report.card.output.max_detections) == ("all", 40)
    assert not any("corners" in note or "centres" in note for note in report.notes)
    expected = plain(tmp_path, head, conf=0.6, iou=0.4)
    best = {
        (int(label), round(float(score), 4)) for label, score in zip(expected.labels, expected.scores, strict=True)
    }
    ours = {(int(label), round(float(score), 4)) for label, score in zip(found.labels, found.scores, strict=True)}
    assert len(best) > 3 and len(best & ours) > 3


def test_efficient_nms_that_is_agnostic_is_the_best_class_of_each_box(tmp_path: Path) -> None:
    settings = {"score_threshold": 0.6, "iou_threshold": 0.4, "max_output_boxes": 40, "box_coding": 1}
    path = plugin(Written(tmp_path / "net.onnx"), "EfficientNMS_TRT", **settings, class_agnostic=1)
    together = best_class_nms(Written(tmp_path / "t.onnx"), conf=0.6, iou=0.4, most=40, apart=0.0)
    require_equal(detected(path)[0], detected(together)[0])


def test_activation_and_background_of_the_plugin(tmp_path: Path) -> None:
    """Logits in, of which the first is the background."""
    settings = {"score_threshold": 0.6, "iou_threshold": 0.4, "max_output_boxes": 40, "box_coding": 1}
    logits = Head(order="rows", logits=True)
    path = plugin(
        Written(tmp_path / "net.onnx", logits),
        "EfficientNMS_TRT",
        **settings,
        score_activation=1,
        background_class=0,
    )
    _, report = detected(path)
    assert len(report.card.names) == 2


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (
            "TRTBatchedNMS",
            {"iou_threshold": 0.4, "score_threshold": 0.6, "keep_topk": 40, "background_label_id": -1},
        ),
        ("BatchedNMS_TRT", {"iouThreshold": 0.4, "scoreThreshold": 0.6, "keepTopK": 40, "backgroundLabelId": -1}),
    ],
)
def test_batched_nms_of_mmdeploy_and_of_tensorrt(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    path = plugin(Written(tmp_path / "net.onnx", CORNERS), kind, "mmdeploy", **settings)
    same = {"score_threshold": 0.6, "iou_threshold": 0.4, "max_output_boxes": 40}
    other = plugin(Written(tmp_path / "other.onnx", CORNERS), "EfficientNMS_TRT", **same)
    require_equal(detected(path)[0], detected(other)[0])


def test_anchors_in_the_plugin_are_refused_by_name(tmp_path: Path) -> None:
    path = plugin(Written(tmp_path / "net.onnx"), "EfficientNMS_TRT", score_threshold=0.6)
    model = onnx.load(str(path))
    model.graph.node[-1].input.append("boxes")
    onnx.save(model, str(path))
    with pytest.raises(ArtifactError, match="EfficientNMS_TRT end/num_dets decodes boxes from anchors"):
        detected(path)


def test_another_plugin_is_named_with_its_node(tmp_path: Path) -> None:
    written = Written(tmp_path / "net.onnx")
    written.op("DCNv2_TRT", ["raw"], "output", domain="TRT")
    with pytest.raises(ArtifactError, match="node end/output is TRT::DCNv2_TRT, which is no operator of ONNX"):
        detected(written.save("output"))


def test_one_class_whose_score_is_objectness_alone(tmp_path: Path) -> None:
    """YOLOv7 leaves the class score out where there is one class."""
    for family, alone in (("yolov5", False), ("yolov7", True)):
        path = save_head(tmp_path / f"{family}.onnx", Head(order="rows", objectness=True, per_place=3))
        model = onnx.load(str(path))
        model.graph.node[-1].output[0] = "raw"
        model.graph.node.append(helper.make_node("Slice", ["raw", "low", "high", "axis"], ["output0"]))
        for name, value in (("low", 0), ("high", 6), ("axis", 2)):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value]), name))
        model.graph.output[0].type.tensor_type.ClearField("shape")
        onnx.save(model, str(path))
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        image = frame()[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
        (raw,) = session.run(None, {"images": image})
        expected = raw[0, :, 4] if alone else raw[0, :, 4] * raw[0, :, 5]
        found, report = detected(path, family=family, conf=0.01)
        assert found.scores.max() == pytest.approx(expected.max(), abs=1e-4)
        assert any("takes it alone" in note for note in report.notes) != alone


def inserted(path: Path, kind: str, tensor: str, *constants: Any) -> Path:
    """Let all readers of ``tensor`` read what an operator makes of it and of ``constants``."""
    model = onnx.load(str(path))
    nodes = list(model.graph.node)
    for node in nodes:
        for index, name in enumerate(node.input):
            if name == tensor:
                node.input[index] = f"{tensor}_changed"
    names = [f"{kind}_of_{tensor}_{index}" for index in range(len(constants))]
    for name, value in zip(names, constants, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    added = helper.make_node(kind, [tensor, *names], [f"{tensor}_changed"], f"added/{kind}")
    at = next(index for index, node in enumerate(nodes) if tensor in node.output) + 1
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], added, *nodes[at:]])
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("kind", "tensor", "constants", "where"),
    [
        ("Sqrt", "scores", (), "between the head raw and the NMS"),
        ("Mul", "scores", (np.float32(0.9),), "between the head raw and the NMS"),
        ("Softmax", "scores", (), "between the head raw and the NMS"),
        ("Mul", "best_chosen", (np.float32(0.5),), "behind its NMS"),
        ("Sqrt", "best_chosen", (), "behind its NMS"),
    ],
)
def test_what_is_computed_with_scores_and_would_be_lost_is_refused(
    tmp_path: Path, kind: str, tensor: str, constants: tuple[Any, ...], where: str
) -> None:
    """A factor is no objectness, and what comes behind would be cut off."""
    path = inserted(best_class_nms(Written(tmp_path / "net.onnx")), kind, tensor, *constants)
    with pytest.raises(ArtifactError, match=f"{kind} added/{kind} computes with the scores {where}"):
        detected(path)


def test_objectness_times_class_scores_in_columns_is_refused(tmp_path: Path) -> None:
    written = Written(tmp_path / "net.onnx", Head(order="rows", objectness=True))
    written.op("Transpose", ["raw"], "columns", perm=[0, 2, 1])
    written.op("Split", ["columns", np.array([4, 1, 3])], "boxes", "sure", "classes", axis=1)
    written.op("Mul", ["classes", "sure"], "scores")
    written.op("ReduceMax", ["scores"], "best", axes=[1], keepdims=1)
    written.op("Transpose", ["boxes"], "rows", perm=[0, 2, 1])
    limits = [np.array([9]), np.array([0.4], np.float32), np.array([0.5], np.float32)]
    written.op("NonMaxSuppression", ["rows", "best", *limits], "output")
    with pytest.raises(
        ArtifactError, match=r"takes objectness times class scores of columns .* expected \[N, anch"
    ):
        detected(written.save("output", kind=onnx.TensorProto.INT64))


def test_the_best_of_all_classes_are_not_moved_apart_by_being_picked(tmp_path: Path) -> None:
    """TopK's numbers pick boxes here, and a factor that is no distance is on all of them."""
    written = Written(tmp_path / "net.onnx")
    written.parts()
    matrix = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
    written.op("MatMul", ["boxes", matrix], "corners")
    written.op("ReduceMax", ["scores"], "best", axes=[2], keepdims=1)
    written.op("TopK", ["best", np.array([80])], "first", "index", axis=1)
    written.op("Expand", ["index", np.array([1, 1, 4])], "indices")
    written.op("GatherElements", ["corners", "indices"], "picked", axis=1)
    written.op("Mul", ["picked", np.float32(3)], "larger")
    written.op("Transpose", ["first"], "ranked", perm=[0, 2, 1])
    limits = [np.array([9]), np.array([0.4], np.float32), np.array([0.5], np.float32)]
    written.op("NonMaxSuppression", ["larger", "ranked", *limits], "output")
    _, report = detected(written.save("output", kind=onnx.TensorProto.INT64))
    assert "all classes together" in " ".join(report.notes)


def test_a_part_of_a_shape_is_no_limit(tmp_path: Path) -> None:
    written = Written(tmp_path / "net.onnx")
    best_class_nms(written, most=30)
    written.op("Shape", ["output"], "sizes")
    written.op("Slice", ["sizes", np.array([0]), np.array([2]), np.array([0])], "two_sizes")
    written.op("Reshape", ["output", "two_sizes"], "same")
    _, report = detected(written.save("same"))
    assert report.card.output.max_detections == 30


def test_two_passes_are_refused(tmp_path: Path) -> None:
    limits = [np.array([9]), np.array([0.4], np.float32), np.array([0.5], np.float32)]
    for name in ("behind", "beside"):
        written = Written(tmp_path / f"{name}.onnx")
        best_class_nms(written)
        boxes = "apart"
        if name == "behind":
            written.op("Cast", ["chosen"], "numbers", to=1)
            written.op("ReduceMin", ["numbers"], "none", keepdims=0)
            written.op("Add", ["apart", "none"], "again")
            boxes = "again"
        written.op("NonMaxSuppression", [boxes, "ranked", *limits], "more")
        written.op("Cast", ["more"], "more_output", to=1)
        said = "there is another NMS" if name == "behind" else "2 nodes NonMaxSuppression with different limits"
        with pytest.raises(ArtifactError, match=said):
            detected(written.save("output", "more_output"))


def test_what_the_plugin_does_where_nothing_is_said(tmp_path: Path) -> None:
    _, report = detected(plugin(Written(tmp_path / "net.onnx"), "EfficientNMS_TRT", box_coding=1))
    output = report.card.output
    assert (output.score_threshold, output.iou_threshold, output.max_detections) == (0.5, 0.5, 100)


def test_what_running_such_a_file_advises_works(tmp_path: Path) -> None:
    path = plugin(Written(tmp_path / "net.onnx"), "EfficientNMS_TRT", box_coding=1)
    with pytest.raises(ArtifactError, match=r"export it once: edgedet export \S* --family yolo "):
        Detector(path)
    assert len(detected(path, conf=0.3)[0]) > 3


def test_such_outputs_without_a_node_that_suppresses_are_refused(tmp_path: Path) -> None:
    written = Written(tmp_path / "net.onnx")
    written.op("Identity", ["raw"], "num_dets")
    written.op("Identity", ["raw"], "det_boxes")
    with pytest.raises(ArtifactError, match="holds no NMS that edgedet knows; export it again without NMS"):
        export_model(written.save("num_dets", "det_boxes"), tmp_path / "o.onnx", ExportOptions())


def test_no_score_threshold_lets_all_boxes_out_and_is_said(tmp_path: Path) -> None:
    found, report = detected(best_class_nms(Written(tmp_path / "net.onnx"), conf=None, most=300))
    expected, _ = detected(best_class_nms(Written(tmp_path / "zero.onnx"), conf=1e-6, most=300))
    assert report.card.output.score_threshold == 0.0
    require_equal(found, expected)
    assert any("no score threshold, so that all its boxes come out: --conf sets one" in n for n in report.notes)


@pytest.mark.parametrize("left_out", ["score_threshold", "iou_threshold", "keep_topk"])
def test_a_plugin_without_a_setting_that_it_has_no_default_for(tmp_path: Path, left_out: str) -> None:
    settings = {"iou_threshold": 0.4, "score_threshold": 0.6, "keep_topk": 40, "background_label_id": -1}
    del settings[left_out]
    path = plugin(Written(tmp_path / "net.onnx", CORNERS), "TRTBatchedNMS", "mmdeploy", **settings)
    with pytest.raises(ArtifactError, match="leaves out a threshold, or how many boxes it keeps"):
        detected(path)


def best_boxes_first(written: Written, count: int, ranked_by: str = "best") -> Path:
    """The best class of every box, and of all boxes the ``count`` best by ``ranked_by``, before the NMS."""
    matrix = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
    written.parts()
    written.op("MatMul", ["boxes", matrix], "corners")
    written.op("ReduceMax", ["scores"], "best", axes=[2], keepdims=0)
    written.op("ReduceMax", ["boxes"], "largest", axes=[2], keepdims=0)
    written.op("ArgMax", ["scores"], "label", axis=2, keepdims=0)
    written.op("TopK", [ranked_by, np.array([count])], "top", "index", axis=1)
    written.op("GatherElements", ["best", "index"], "kept", axis=1)
    written.op("GatherElements", ["label", "index"], "kept_label", axis=1)
    written.op("Unsqueeze", ["index", np.array([2])], "column")
    written.op("Expand", ["column", np.array([1, 1, 4])], "columns")
    written.op("GatherElements", ["corners", "columns"], "kept_corners", axis=1)
    written.op("Cast", ["kept_label"], "label_float", to=1)
    written.op("Mul", ["label_float", np.float32(4096)], "step")
    written.op("Unsqueeze", ["step", np.array([2])], "step_column")
    written.op("Add", ["kept_corners", "step_column"], "apart")
    written.op("Unsqueeze", ["kept", np.array([1])], "ranked")
    limits = [np.array([300]), np.array([0.9], np.float32), np.array([0.2], np.float32)]
    written.op("NonMaxSuppression", ["apart", "ranked", *limits], "chosen")
    written.op("Gather", ["chosen", np.array([0, 2])], "places", axis=1)
    written.op("GatherND", ["kept", "places"], "kept_chosen")
    return written.save("kept_chosen")


@pytest.mark.parametrize("nms", ["graph", "runtime"])
def test_a_choice_of_the_best_boxes_before_the_nms_stays_one(tmp_path: Path, nms: Any) -> None:
    path = best_boxes_first(Written(tmp_path / "net.onnx"), 20)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = frame()[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    (scores,) = session.run(None, {"images": image})
    found, report = detected(path, nms=nms)
    everything, _ = detected(best_boxes_first(Written(tmp_path / "all.onnx"), 189))
    assert 10 < len(scores) <= 20 < len(everything)
    # Boxes that lie outside of the picture are none of ours.
    assert len(scores) - 4 <= len(found) <= len(scores)
    assert set(found.scores.round(4).tolist()) <= set(scores.round(4).tolist())
    assert any("the 20 best boxes enter" in note for note in report.notes)


def test_a_choice_by_something_else_than_scores_is_refused(tmp_path: Path) -> None:
    path = best_boxes_first(Written(tmp_path / "net.onnx"), 20, "largest")
    with pytest.raises(ArtifactError, match=r"TopK end/top chooses boxes .* by something else than their scores"):
        detected(path)


def test_the_best_of_all_classes_as_paddle2onnx_keeps_them(tmp_path: Path) -> None:
    """Every class has a limit of its own, and behind them all are fewer: the smaller of that and what there is."""
    written = Written(tmp_path / "net.onnx", CORNERS)
    written.parts()
    written.op("Transpose", ["scores"], "ranked", perm=[0, 2, 1])
    limits = [np.array([1000]), np.array([0.4], np.float32), np.array([0.5], np.float32)]
    written.op("NonMaxSuppression", ["boxes", "ranked", *limits], "chosen")
    written.op("GatherND", ["ranked", "chosen"], "found")
    written.op("Shape", ["found"], "how_many")
    written.op("Concat", ["how_many", np.array([5])], "counts", axis=0)
    written.op("ReduceMin", ["counts"], "count", keepdims=1)
    written.op("TopK", ["found", "count"], "best", "places")
    written.op("Gather", ["chosen", "places"], "kept", axis=0)
    path = written.save("kept", kind=onnx.TensorProto.INT64)
    found, report = detected(path)
    assert report.card.output.max_detections == 5
    assert any("5 detections at most" in note for note in report.notes)
    whole = plain(tmp_path, CORNERS, conf=0.5, iou=0.4, label_mode="all")
    # Of the five, boxes that lie outside of the picture are none of ours.
    assert len(found) <= 5 < len(whole)
    require_equal(found, whole[: len(found)])
