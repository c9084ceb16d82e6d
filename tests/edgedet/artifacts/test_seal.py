"""A graph that is not what edgedet wrote is refused, and one that never had a seal opens as before."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY
from edgedet.artifacts.protobuf import DamagedError
from edgedet.artifacts.seal import SEAL_KEY, require_seal, sealed
from edgedet.cli import main
from edgedet.errors import ArtifactError
from edgedet.opening import read_card
from edgedet.selftest import SELFTEST_GRAPH
from tests.rectangle_detector import save_foreign_graph, save_rectangle_graph

WHOLE = SELFTEST_GRAPH.read_bytes()


@pytest.fixture
def bare(tmp_path: Path) -> bytes:
    """A graph of edgedet's as it was before there were seals."""
    save_rectangle_graph(tmp_path / "bare.onnx")
    return (tmp_path / "bare.onnx").read_bytes()


def test_a_seal_adds_an_entry_and_a_word_of_the_card_and_nothing_else(bare: bytes, tmp_path: Path) -> None:
    (tmp_path / "sealed.onnx").write_bytes(sealed(bare))
    before, after = onnx.load_model_from_string(bare), onnx.load(str(tmp_path / "sealed.onnx"))
    entries = {entry.key: entry.value for entry in after.metadata_props}
    assert (
        entries[SEAL_KEY] == hashlib.sha256(sealed(bare)[: -len(after.metadata_props[-1].value) - 20]).hexdigest()
    )
    assert json.loads(entries[METADATA_KEY])["sealed"] is True
    assert after.graph == before.graph
    assert read_card(tmp_path / "sealed.onnx") == read_card(tmp_path / "bare.onnx")


def test_sealing_twice_is_sealing_once(bare: bytes) -> None:
    assert sealed(sealed(bare)) == sealed(bare)


def test_the_shipped_graph_is_sealed_and_a_bare_one_opens_as_before(bare: bytes, tmp_path: Path) -> None:
    assert require_seal(SELFTEST_GRAPH) is True
    assert require_seal(tmp_path / "bare.onnx") is False
    Detector(tmp_path / "bare.onnx").close()
    save_foreign_graph(tmp_path / "foreign.onnx")
    assert require_seal(tmp_path / "foreign.onnx") is False


@pytest.mark.parametrize("place", ["weights", "card", "first byte", "digest"])
def test_one_changed_bit_is_found_before_a_runtime_sees_it(place: str, tmp_path: Path) -> None:
    at = {
        "weights": 4000,
        "card": WHOLE.index(b'"score_threshold": 0.6') + 21,
        "first byte": 1,
        "digest": len(WHOLE) - 1,
    }[place]
    changed = bytearray(WHOLE)
    changed[at] ^= 1
    (tmp_path / "changed.onnx").write_bytes(changed)
    with pytest.raises(ArtifactError, match=r"changed\.onnx is damaged, or changed since edgedet wrote it"):
        Detector(tmp_path / "changed.onnx", runtime="onnxruntime:cpu")
    with pytest.raises(ArtifactError, match="is damaged"):
        Detector(bytes(changed))


def test_without_the_seal_such_a_bit_gives_other_boxes_without_a_word(tmp_path: Path) -> None:
    """Which is why there is a seal: the runtime itself does not notice."""
    model = onnx.load_model_from_string(WHOLE)
    kept = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    kept[0].value = kept[0].value.replace(', "sealed": true', "")
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    plain = bytearray(model.SerializeToString())
    frame = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8), (64, 64))
    with Detector(bytes(plain)) as detector:
        expected = detector.detect(frame)
    place = plain.index(model.graph.initializer[0].raw_data) + 3
    plain[place] ^= 0x40
    with Detector(bytes(plain)) as detector:
        assert not np.array_equal(detector.detect(frame).scores, expected.scores)


def test_a_lost_seal_is_told_from_none(tmp_path: Path) -> None:
    path = tmp_path / "lost.onnx"
    path.write_bytes(WHOLE.replace(SEAL_KEY.encode(), b"edgedet.sha255"))
    with pytest.raises(ArtifactError, match=r"the digest that its card speaks of is not there; copy or export it"):
        Detector(path)


def test_two_seals_are_one_too_many(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    path.write_bytes(WHOLE + WHOLE[-84:])
    with pytest.raises(ArtifactError, match="it states 2 digests of itself"):
        Detector(path)


def test_another_tool_s_change_is_refused_and_can_be_sealed_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load_model_from_string(WHOLE)
    model.graph.node[0].name = "renamed"
    onnx.save(model, str(tmp_path / "changed.onnx"))
    assert main(["selftest", str(tmp_path / "changed.onnx")]) == 1
    assert f"edgedet inspect {tmp_path / 'changed.onnx'} --seal NEW.onnx" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "changed.onnx"), "--seal", str(tmp_path / "new.onnx")]) == 0
    capsys.readouterr()
    assert main(["selftest", str(tmp_path / "new.onnx")]) == 0


def test_verify_says_what_is_known(tmp_path: Path, bare: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(SELFTEST_GRAPH), "--verify"]) == 0
    said = capsys.readouterr().out
    assert "digest      network and card are as edgedet wrote them" in said and "signature   none" in said
    assert main(["inspect", str(tmp_path / "bare.onnx"), "--verify", "--json"]) == 0
    verified = json.loads(capsys.readouterr().out)["verified"]
    assert verified["whole"] is False and "damage to it cannot be told" in verified["digest"]
    (tmp_path / "bad.onnx").write_bytes(WHOLE[:4000] + b"x" + WHOLE[4001:])
    assert main(["inspect", str(tmp_path / "bad.onnx"), "--verify"]) == 2
    assert main(["inspect", str(tmp_path / "bad.onnx")]) == 0, "looking works on what cannot be run"
    capsys.readouterr()
    assert main(["doctor", str(tmp_path / "bad.onnx")]) == 1
    assert "is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"\0" * 40, WHOLE[:3000]])
def test_what_is_no_graph_is_not_sealed(content: bytes) -> None:
    if content:
        with pytest.raises(DamagedError):
            sealed(content)
    else:
        assert sealed(content)  # an empty message is a message
