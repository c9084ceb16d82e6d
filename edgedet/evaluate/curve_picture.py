"""Precision over recall and the figures over the threshold, as one picture."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import MissingDependencyError
from edgedet.evaluate.evaluation import Evaluation
from edgedet.files import atomic_path

CLASSES_DRAWN = 8


def save_curves(evaluation: Evaluation, path: Path) -> None:
    """Draw precision over recall of the classes with most objects at IoU 0.5, and all figures over the threshold.

    Args:
        evaluation: what :func:`evaluate` gave.
        path: PNG file to write.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the place is not writable.

    >>> from edgedet import Detector
    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.evaluate import evaluate
    >>> result = evaluate(Detector("model.onnx", conf=0.001), read_dataset("photos/labels.json"))
    >>> save_curves(result, Path("curves.png"))
    >>> Path("curves.png").exists()
    True
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("the curves need matplotlib: pip install 'edgedet[report]'") from error
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    recall = [k / 100 for k in range(101)]
    counted = sorted(evaluation.coco.per_class, key=lambda entry: -entry.objects)
    for entry in [entry for entry in counted if entry.objects][:CLASSES_DRAWN]:
        left.plot(recall, evaluation.coco.curves[entry.name], label=f"{entry.name}  AP50 {entry.ap50:.2f}")
    left.set(xlabel="recall", ylabel="precision", title="IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))
    points = evaluation.by_threshold
    scores = [point.threshold for point in points]
    for name in ("precision", "recall", "f1", "misses", "false_alarms"):
        # NaN (no object-free images, no boxes) leaves a gap or no line at all.
        right.plot(scores, [getattr(point, name) for point in points], label=name.replace("_", " "))
    right.axvline(evaluation.at.threshold, color="0.5", linestyle=":", linewidth=1)
    right.set(
        xlabel="score threshold",
        title=f"dotted: working point, {evaluation.at.threshold:g}",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    for axes, nothing in ((left, "no object of the judged classes"), (right, "no threshold can be judged")):
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend(fontsize="small")
        else:
            axes.text(0.5, 0.5, f"not measured: {nothing}", ha="center", fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
