"""Changed files give an error of edgedet's or the right answer; benchmarks/mutations.py has the thousands."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import pytest

pytest.importorskip("onnx", reason="makes graphs")

from edgedet.selftest import SELFTEST_GRAPH
from tests.mutations import mutators, worker
from tests.mutations.subjects import SHARES, SUBJECTS

CASES = {"card": 25, "video": 12, "graph by openvino": 10, "the same by openvino": 10, "sealed damage": 20}
USUAL = 40
NEEDS = {"graph by openvino": "openvino", "the same by openvino": "openvino", "signature": "cryptography"}


def test_changed_files_give_an_error_or_the_right_answer() -> None:
    chosen = [name for name in SUBJECTS if importlib.util.find_spec(NEEDS.get(name, "onnx")) is not None]
    # Other cases than those of the benchmark's first run.
    cases = [(name, 1_000_000 + seed) for name in chosen for seed in range(CASES.get(name, USUAL))]
    result = worker.run_cases(cases)
    assert result.faults == []
    assert result.count == len(cases) >= 300
    assert result.largest < worker.MEMORY and result.slowest < worker.SECONDS
    # Each kind is met with: nearly everything would be an error if no case came as far as a runtime.
    assert result.outcomes["card"]["stated"] >= 5 and result.outcomes["picture"]["stated"] >= 5
    assert result.outcomes["sealed damage"]["stated"] >= 2


def test_every_subject_has_a_share_of_the_thousands() -> None:
    assert {name for shares in SHARES.values() for name in shares} == set(SUBJECTS)


def test_the_same_seed_makes_the_same_case() -> None:
    content = SELFTEST_GRAPH.read_bytes()
    made = [[mutators.damage(content, random.Random(seed)) for seed in range(20)] for _ in range(2)]
    assert made[0] == made[1] and len({*made[0], content}) == 21


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", "crash: exit code -11"),
        ("raise ValueError('no error of ours')", "ValueError: no error of ours"),
        ("x = bytearray(3 << 30)", "memory: "),
        ("x = bytes(1 << 45)", "MemoryError"),
        ("import time; begun = time.process_time()\nwhile time.process_time() - begun < 1: pass", "slow: "),
        ("assert False, 'other boxes'", "AssertionError: other boxes"),
    ],
    ids=["crash", "error", "memory", "no memory", "slow", "wrong"],
)
def test_the_watch_sees_what_it_is_there_for(fault: str, said: str, monkeypatch: Any, tmp_path: Any) -> None:
    program = tmp_path / "worker.py"
    source = (worker.ROOT / "tests/mutations/worker.py").read_text("utf-8")
    source = source.replace("    from tests.mutations.subjects import SUBJECTS\n", "")
    planted = f"def planted(place, chance):\n    {fault.replace(chr(10), chr(10) + '    ')}\n"
    source = source.replace(
        'if __name__ == "__main__":', f'{planted}\nSUBJECTS = {{"x": lambda: planted}}\nif __name__ == "__main__":'
    )
    program.write_text(source)
    monkeypatch.setattr(worker, "__file__", str(program))
    monkeypatch.setattr(worker, "SECONDS", 0.5 if "time" in fault else worker.SECONDS)
    result = worker.run_cases([("x", 0), ("x", 1)])
    assert len(result.faults) == 2 and all(what.startswith(said) for _, _, what in result.faults), result.faults
