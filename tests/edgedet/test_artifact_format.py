"""docs/artifact-format.md says what the code does, and its words are enough to read the files."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import re
import struct
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from edgedet.artifacts.card import (
    CARD_VERSION,
    METADATA_KEY,
    InputSpec,
    KeypointSpec,
    ModelCard,
    OutputSpec,
    ResizeRule,
)
from edgedet.artifacts.engine_file import HEADER_SEAL, MAX_HEADER, SMALLEST_PLAN, sidecars, write_engine
from edgedet.artifacts.engine_library import TENSORRT, TENSORRT_RTX
from edgedet.artifacts.engine_match import Host
from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.artifacts.ncnn_file import CARD, PARAM, WEIGHTS
from edgedet.artifacts.rtx_targets import GPUS, capability
from edgedet.artifacts.seal import CLAIM, SEAL_KEY
from edgedet.artifacts.signature import FILE_KEY, MAX_SIGNATURES, PREFIX, VERSION, Role
from edgedet.errors import ArtifactError
from edgedet.opening import read_card
from edgedet.preprocess import Preprocessor
from tests.tensorrt_api.behaviour import Machine
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.double import RTX_VERSIONS
from tests.tensorrt_api.installed import install
from tests.tensorrt_api.networks import convolution

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "artifact-format.md").read_text("utf-8")
SELFTEST = ROOT / "edgedet" / "selftest.onnx"
PLAN = b"ptrt" + bytes(4092)
OBJECTS = {
    "card": ModelCard,
    "input": InputSpec,
    "resize": ResizeRule,
    "output": OutputSpec,
    "keypoints": KeypointSpec,
    "skeleton": Skeleton,
}
KEYPOINTS = {"form": "points", "skeleton": {"names": ["a"]}}
TYPES = {
    "text": "names",
    "integer": 1,
    "number": 0.5,
    "true or false": True,
    "list of text": ["a"],
    "list of 3 numbers": [0.5, 1.0, 2.0],
    "list of pairs": [[0, 0]],
    "object": {},
    "integer or null": None,
    "object or null": None,
}
"""What the page calls a type, and a value of it."""


def table(title: str) -> dict[str, list[str]]:
    """Rows of the first table below a heading of the third order, by the name in their first cell."""
    section = re.search(rf"^### `{title}`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None, title
    rows = [line.strip("| ").split(" | ") for line in section[1].splitlines() if line.startswith("| `")]
    return {name: cells for cells in rows for name in re.findall(r"`(\w+)`", cells[0])}


# The reader, from the page's words alone: of edgedet it knows nothing.
def graph_card(content: bytes) -> Any:
    for field, value in messages(content):
        if field == 14:
            entry = dict(messages(value))
            if entry[1] == b"edgedet":
                return json.loads(entry[2])
    raise ValueError("no card")


def graph_seal(content: bytes) -> tuple[bool, str | None, str]:
    """Whether the card says that there is a seal; the digest that it states; and the one of all other bytes."""
    card, stated, rest, end = graph_card(content), None, b"", 0
    for field, value in messages(content):
        after = content.index(value, end) + len(value)
        if field == 14 and dict(messages(value))[1] == b"edgedet.sha256":
            stated = dict(messages(value))[2].decode()
            # One byte of tag, one of length: a seal is shorter than 128 bytes.
            rest = content[: after - len(value) - 2] + content[after:]
        end = after
    return card.get("sealed") is True, stated, hashlib.sha256(rest).hexdigest()


def messages(content: bytes) -> Any:
    """Fields of wire type 2: their numbers and bytes. Others are skipped."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(content):
        key = varint()
        if key & 7 == 0:
            varint()
        elif key & 7 == 2:
            size = varint()
            if size > len(content) - position:
                raise ValueError("runs past the end")
            yield key >> 3, content[position : position + size]
            position += size
        else:
            position += {1: 8, 5: 4}[key & 7]


def engine_card(path: Path) -> tuple[Any, bytes]:
    content = path.read_bytes()
    if content[4:5] == b"{":
        (size,) = struct.unpack_from("<I", content)
        if not 2 <= size <= 16_777_216 or len(content) < 4 + size:
            raise ValueError("not an engine")
        header, plan = content[4 : 4 + size], content[4 + size :]
    else:
        beside = [path.with_suffix(".json"), Path(f"{path}.json")]
        header, plan = next(place for place in beside if place.exists()).read_bytes(), content
    card = json.loads(header)
    if card["engine"].get("sealed") or "sealed" in card:
        digits = card["sealed"].encode()
        if hashlib.sha256(header.replace(digits, b"0" * 64)).hexdigest().encode() != digits:
            raise ValueError("damaged")
    if len(plan) < 64 or hashlib.sha256(plan).hexdigest() != card["engine"]["plan_sha256"]:
        raise ValueError("damaged")
    return card, plan


def test_the_reader_of_the_page_reads_a_graph() -> None:
    card = graph_card(SELFTEST.read_bytes())
    assert ModelCard.from_json(json.dumps(card)) == read_card(SELFTEST)


def test_the_reader_of_the_page_reads_what_export_writes(shared: Path, sample_export: Any) -> None:
    content = sample_export.path.read_bytes()
    assert graph_card(content) == json.loads(sample_export.card.to_json()) | {"sealed": True}
    claimed, stated, found = graph_seal(content)
    assert claimed and stated == found
    assert graph_seal(content[:9000] + b"x" + content[9001:])[2] != stated


@pytest.mark.parametrize("container", ["file", "plan"])
def test_the_reader_of_the_page_reads_an_engine(tmp_path: Path, container: Literal["file", "plan"]) -> None:
    path = tmp_path / ("engine.trt" if container == "file" else "engine.plan")
    written = write_engine(path, read_card(SELFTEST), PLAN, container=container)
    card, plan = engine_card(path)
    digest = card.pop("sealed")
    assert (card, plan) == (json.loads(written.to_json()), PLAN) and card["engine"]["sealed"] is True
    beside = path if container == "file" else path.with_suffix(".json")
    changed = beside.read_bytes().replace(b'"score_threshold": 0.6', b'"score_threshold": 0.7')
    whole, _ = beside.read_bytes(), beside.write_bytes(changed)
    assert changed != whole and digest
    for reader, error in ((engine_card, ValueError), (read_card, ArtifactError)):
        with pytest.raises(error, match="damaged"):
            reader(path)
    beside.write_bytes(whole)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="damaged"):
        engine_card(path)
    path.write_bytes(content[:200])
    with pytest.raises(ValueError, match="not an engine" if container == "file" else "damaged"):
        engine_card(path)


SIZES = [(48, 64, 31, 40), (48, 64, 24, 32), (33, 51, 90, 77), (40, 40, 40, 17), (1, 7, 5, 9)]


@pytest.mark.parametrize(("height", "width", "rows", "columns"), SIZES)
def test_the_words_of_the_page_resize_as_the_code_does(height: int, width: int, rows: int, columns: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)

    def resized(dtype: Literal["uint8", "float32"], *, antialias: bool = False) -> Any:
        rule = ResizeRule("stretch", antialias=antialias)
        preprocessor = Preprocessor(InputSpec(rows, columns, dtype=dtype), rule)
        preprocessor.prepare(frame)
        return preprocessor.tensor[0]

    (y0, y1, v), (x0, x1, u) = taps(height, rows), taps(width, columns)
    v, u = v[:, None, None], u[:, None]
    lines = (1 - u) * frame[:, x0] + u * frame[:, x1]
    np.testing.assert_allclose(resized("float32"), (1 - v) * lines[y0] + v * lines[y1], atol=1e-3)

    whole = frame.astype(np.int64)
    lines = whole[:, x0] * fixed(1 - u) + whole[:, x1] * fixed(u)
    mixed = ((fixed(1 - v) * (lines[y0] >> 4) >> 16) + (fixed(v) * (lines[y1] >> 4) >> 16) + 2) >> 2
    # Equal with OpenCV's own kernels; the vendor's that some builds call may round the other way.
    np.testing.assert_allclose(resized("uint8").astype(int), mixed, atol=1)

    wide = np.floor(np.einsum("xj,yjc->yxc", triangles(width, columns), frame.astype(float)) + 0.5)
    both = np.floor(np.einsum("yj,jxc->yxc", triangles(height, rows), wide) + 0.5)
    np.testing.assert_array_equal(resized("uint8", antialias=True), both)


def taps(n: int, m: int) -> tuple[Any, Any, Any]:
    place = np.float32((np.arange(m) + 0.5) * (1 / (m / n)) - 0.5)
    low = np.floor(place).astype(int)
    return np.clip(low, 0, n - 1), np.clip(low + 1, 0, n - 1), place - low.astype(np.float32)


def fixed(weights: Any) -> Any:
    return np.rint(2048 * weights).astype(np.int64)


def triangles(n: int, m: int) -> Any:
    weights = np.zeros((m, n))
    reach = max(n / m, 1)
    for i in range(m):
        centre = (i + 0.5) * n / m
        for j in range(max(int(np.floor(centre - reach + 0.5)), 0), min(int(np.floor(centre + reach + 0.5)), n)):
            weights[i, j] = max(0, 1 - abs(j + 0.5 - centre) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    bits = max(bits for bits in range(23) if np.floor(weights.max() * 2**bits + 0.5) < 2**15)
    return np.floor(weights * 2**bits + 0.5) / 2**bits


@pytest.mark.parametrize("title", OBJECTS)
def test_the_page_names_the_fields_of_the_code_and_no_others(title: str) -> None:
    fields = {field.name: field for field in dataclasses.fields(OBJECTS[title])}
    rows = table(title)
    assert list(rows) == list(fields)
    for name, (_, _, default, _) in rows.items():
        field = fields[name]
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default == "required":
            assert value is dataclasses.MISSING, name
        else:
            # As JSON has it: 1 is no 1.0, and a tuple is a list.
            assert default == f"`{json.dumps(value)}`", name


def texts_of(hint: Any) -> tuple[str, ...]:
    """The texts a field may have, where there are only some; besides None, perhaps."""
    return next((get_args(each) for each in (hint, *get_args(hint)) if get_origin(each) is Literal), ())


@pytest.mark.parametrize("title", OBJECTS)
def test_the_page_lists_the_texts_that_the_code_takes(title: str) -> None:
    hints = get_type_hints(OBJECTS[title])
    rows = table(title)
    for name, hint in hints.items():
        if texts_of(hint):
            listed = re.findall(r'`"(\w+)"`', rows[name][3])
            assert sorted(set(listed)) == sorted(texts_of(hint)), name


@pytest.mark.parametrize("title", OBJECTS)
def test_the_page_has_the_types_of_the_code(title: str) -> None:
    """Values of other types are refused by the code, and one of the type that the page states is not."""
    smallest = smallest_card()
    for name, (_, stated, _, _) in table(title).items():
        for kind, value in TYPES.items():
            if name == "version" or (name in OBJECTS and (title == "card" or kind == "object")):
                continue
            card = json.loads(json.dumps(smallest))
            part_of(card, title)[name] = value
            fits = kind == stated or (kind, stated) in {
                ("integer", "number"),
                ("integer", "integer or null"),
                ("object", "object or null"),
                ("integer or null", "object or null"),
                ("object or null", "integer or null"),
            }
            texts = texts_of(get_type_hints(OBJECTS[title])[name])
            if texts:
                assert stated in ("text", "text or null")
                fits = value in texts or (value is None and stated == "text or null")
            with contextlib.nullcontext() if fits else pytest.raises(ArtifactError):
                ModelCard.from_json(json.dumps(card))


def part_of(card: Any, title: str) -> Any:
    """The object of a card that has a table of this ``title``; keypoints are put there where they are asked for."""
    if title == "card":
        return card
    if title in ("keypoints", "skeleton"):
        spec = card["output"].setdefault("keypoints", copy.deepcopy(KEYPOINTS))
        return spec if title == "keypoints" else spec["skeleton"]
    return card[title]


def smallest_card() -> Any:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    return json.loads(text)


def test_the_smallest_card_is_a_card_and_cannot_be_smaller() -> None:
    card = smallest_card()
    ModelCard.from_json(json.dumps(card))
    for parent in (card, card["input"], card["resize"], card["output"]):
        for name, value in list(parent.items()):
            del parent[name]
            with pytest.raises(ArtifactError):
                ModelCard.from_json(json.dumps(card))
            parent[name] = value


def test_fields_nobody_knows_are_ignored_and_newer_cards_refused() -> None:
    card = smallest_card()
    ModelCard.from_json(json.dumps(card | {"mood": 1, "output": card["output"] | {"mood": True}}))
    with pytest.raises(ArtifactError, match="version"):
        ModelCard.from_json(json.dumps(card | {"version": CARD_VERSION + 1}))


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    assert f"There is one so far: {CARD_VERSION}." in words
    assert f"is `{METADATA_KEY}`" in words
    assert f"its key is `{SEAL_KEY}`" in words and f"with the key `{CLAIM}`, `true`" in words
    assert f"The last key of a header that edgedet writes is `{HEADER_SEAL}`" in words
    assert f"the {len(PREFIX)} bytes `{PREFIX.decode().rstrip()}` and a line feed" in words
    assert f"`{FILE_KEY}`, {VERSION}, and `signatures`, a list of at most {MAX_SIGNATURES} objects" in words
    assert all(f'`"{role}"`' in words for role in get_args(Role))
    assert f"n must be from 2 to {MAX_HEADER:,}" in words
    assert f"at least {SMALLEST_PLAN} bytes" in words
    assert " or ".join(f"`{start.decode()}`" for start in TENSORRT.plan_starts) in words
    assert all(f"TensorRT-RTX's starts with `{start.decode()}`" in words for start in TENSORRT_RTX.plan_starts)
    assert f"from {TENSORRT_RTX.majors[0]} to {TENSORRT_RTX.majors[-1]})" in words
    assert f"below {TENSORRT.majors[0]} or above {TENSORRT.majors[-1]} says nothing" in words
    assert f"later than {capability(list(GPUS)[-1])}, the last that is known" in words
    members = re.findall(r"^\| `(\S+)` \| (?:the card|the layers|their weights),", PAGE, re.MULTILINE)
    assert members == [CARD, PARAM, WEIGHTS]
    assert f"at 26 the length of the first name, {len(CARD)}, and at 30 that name, `{CARD}`" in words
    first, second = sidecars(Path("model.plan"))
    assert f"a reader looks for `{first}`, then for `{second}`" in words


def test_what_the_page_says_of_engines_is_what_the_builder_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By TensorRT, whose strongly typed build fails; and by TensorRT-RTX, with a GPU and without."""
    build = pytest.importorskip("edgedet.export.engines.build")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keys: set[str] = set()
    for library, version, unopened in (
        (TENSORRT, "10.3.0", ""),
        (TENSORRT_RTX, RTX_VERSIONS[0], ""),
        (TENSORRT_RTX, RTX_VERSIONS[0], "no GPU"),
    ):
        install(monkeypatch, version, FakeCuda(), Machine(strong_qdq_fails=library is TENSORRT))
        built = build.build_plan(
            convolution("int8").SerializeToString(), "int8", Host(None, "8.9"), library=library, unopened=unopened
        )
        keys |= set(built.facts)
    listed = table("engine")
    assert set(listed) == keys | {"cuda", "driver", "plan_sha256", "proof", "sealed"}
    options = {field.name for field in dataclasses.fields(build.EngineOptions)} - {"timing_cache"}
    assert options <= set(re.findall(r"`(\w+)`", listed["options"][2]))


def test_the_bytes_the_page_shows_are_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "edgedet").mkdir()
    (tmp_path / "edgedet/selftest.onnx").write_bytes(SELFTEST.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(snippets), "artifact-format.md", "exec"), {})
    dumps = re.findall(r"^\$ xxd.* (\S+)\n((?:[0-9a-f]{8}: .*\n)+)", PAGE, re.MULTILINE)
    assert len(dumps) == 5
    for name, lines in dumps:
        content = Path(name).read_bytes()
        for line in lines.splitlines():
            shown = bytes.fromhex(line[10:57].strip())
            start = int(line[:8], 16)
            assert content[start : start + len(shown)] == shown, line
            assert line[59:] == "".join(chr(byte) if 32 <= byte < 127 else "." for byte in shown), line
