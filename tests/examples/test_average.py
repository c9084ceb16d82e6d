"""Averages of checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from examples import average


def saved(path: Path, value: float, *, classes: int = 2, dtype: torch.dtype = torch.float16) -> Path:
    state = {
        "weight": torch.full((classes, 3), value, dtype=dtype),
        "num_batches_tracked": torch.tensor(int(value * 10)),
    }
    torch.save({"arch": "a", "classes": ["x"] * classes, "state_dict": state, "note": value}, path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: Path | str) -> int:
    monkeypatch.setattr(sys, "argv", ["average.py", *map(str, words)])
    return average.main()


def test_numbers_are_averaged_and_the_rest_is_of_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In float16 the sum would be infinite.
    files = [saved(tmp_path / f"{value}.pt", value) for value in (40_000.0, 50_000.0)]
    assert run(monkeypatch, *files, "--out", tmp_path / "both.pt") == 0
    both = torch.load(tmp_path / "both.pt", weights_only=True)
    assert both["note"] == 50_000.0 and both["state_dict"]["num_batches_tracked"] == 500_000
    weight = both["state_dict"]["weight"]
    assert weight.dtype == torch.float16 and torch.equal(weight, torch.full((2, 3), 45_000.0, dtype=torch.float16))


def test_other_networks_and_single_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = saved(tmp_path / "one.pt", 1.0), saved(tmp_path / "other.pt", 1.0, classes=3)
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(one.read_bytes()[:-200])
    for words, why in (
        ((one, other), "is not of the network of"),
        ((one,), "expected two checkpoints"),
        ((one, damaged), "damaged.pt"),
        ((one, tmp_path / "none.pt"), "none.pt"),
    ):
        with pytest.raises(SystemExit):
            run(monkeypatch, *words, "--out", tmp_path / "both.pt")
        assert why in capsys.readouterr().err
    assert not (tmp_path / "both.pt").exists()
