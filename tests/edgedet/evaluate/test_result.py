"""The one reader of evaluations: whole results, a sweep's part of one, and what stands where there is none."""

from __future__ import annotations

from edgedet.evaluate.result import DrawnImage, EvaluationResult


def test_figures_and_why_they_are_not_there() -> None:
    found = EvaluationResult.from_json({"map": 0.4, "ap50": None, "absent": {"ap50": "no object"}, "sha256": "0a"})
    assert (found.map, found.ap50, found.sha256, found.artifact) == (0.4, None, "0a", None)
    assert (found.why_missing("ap50"), found.why_missing("map")) == ("no object", None)


def test_what_was_not_evaluated_has_one_reason_for_all() -> None:
    none = EvaluationResult.from_json({"not_measured": "random weights"})
    assert none.map is None and none.why_missing("map") == none.why_missing("ap50") == "random weights"


def test_results_of_earlier_versions_say_nothing_of_gaps() -> None:
    assert EvaluationResult.from_json({"map": None}).why_missing("map") is None
    assert EvaluationResult.from_json({"map": None, "absent": "?"}).why_missing("map") is None


def test_pictures_keep_their_captions_where_they_are_moved() -> None:
    entries = [{"drawn": "worst/0.jpg", "caption": "2 missed"}, {"drawn": "worst/1.jpg"}, {"caption": "lost"}]
    moved = EvaluationResult.from_json({"worst": entries}).with_pictures(lambda drawn: f"sweep/{drawn}")
    assert moved.worst == (DrawnImage("sweep/worst/0.jpg", "2 missed"), DrawnImage("sweep/worst/1.jpg"))
