"""Hostile pickles, and honest ones that carry code: what they hold is read, and nothing of theirs ever runs."""

from __future__ import annotations

import argparse
import builtins
import copyreg
import datetime
import functools
import importlib
import io
import operator
import os
import pathlib
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedet.errors import CheckpointError
from edgedet.export.checkpoints import inert_pickle
from edgedet.export.checkpoints.file import read_content
from edgedet.export.checkpoints.inert_objects import Inert, array_values

RAN: list[str] = []


def ran(*_: Any, **__: Any) -> str:
    """What no pickle may call."""
    RAN.append("ran")
    return "ran"


class Calls:
    """Calls a function when unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call

    def __call__(self) -> None:
        """For pickle, which only writes calls of what can be called."""


class HasState:
    """Runs in ``__setstate__``."""

    def __init__(self) -> None:
        self.value = 1

    def __setstate__(self, state: object) -> None:
        ran()


class Dict(dict[Any, Any]):
    """Runs when something is put in."""

    def __setitem__(self, key: object, value: object) -> None:
        ran()


class List(list[Any]):
    """Runs when something is put in."""

    def append(self, value: object) -> None:
        ran()

    def extend(self, values: object) -> None:
        ran()


class Appends:
    """Makes a list-like of a foreign class, item by item."""

    def __reduce__(self) -> tuple[Any, ...]:
        return List, (), None, iter([1, 2, 3])


class Puts:
    """Makes a dict-like of a foreign class, key by key."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Dict, (), None, None, iter([("a", 1)])


class Builds:
    """An OrderedDict with a hook among its attributes, as a state is given to any object."""

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), {"__class__": HasState, "move_to_end": ran}


THIS = __name__
TOUCH = "open('ran_code', 'w').close()"

OBJECTS: dict[str, Any] = {
    "os.system": Calls(os.system, "touch ran_code"),
    "subprocess": Calls(subprocess.Popen, "touch ran_code"),
    "eval": Calls(eval, TOUCH),
    "exec": Calls(exec, TOUCH),
    "compile": Calls(compile, TOUCH, "x", "exec"),
    "getattr chain": Calls(getattr, Calls(importlib.import_module, "os"), "system"),
    "called getattr": Calls(Calls(getattr, Calls(importlib.import_module, THIS), "ran")),
    "import": Calls(__import__, "antigravity"),
    "open": Calls(open, "ran_code", "w"),
    "remove": Calls(os.remove, "witness"),
    "rmtree": Calls(shutil.rmtree, "."),
    "chdir": Calls(os.chdir, "/"),
    "setattr": Calls(setattr, Calls(importlib.import_module, "torch"), "load", None),
    "partial": functools.partial(ran, 1),
    "methodcaller": Calls(operator.methodcaller("system", "touch ran_code"), Calls(importlib.import_module, "os")),
    "torch.load": Calls(torch.load, "x.pt"),
    "torch.hub": Calls(torch.hub.load, "x/y", "z"),
    "torch.jit": Calls(torch.jit.load, "x.pt"),
    "torch storage from bytes": Calls(torch.storage._load_from_bytes, pickle.dumps(Calls(ran))),
    "pickle in pickle": Calls(pickle.loads, pickle.dumps(Calls(ran))),
    "numpy load": Calls(np.load, "x.npy", None, True),
    "copyreg": Calls(copyreg._reconstructor, HasState, object, None),  # type: ignore[attr-defined]
    "own function": Calls(ran),
    "setstate": HasState(),
    "dict subclass": Puts(),
    "list subclass": Appends(),
    "attributes": Builds(),
    "nested": Calls(print, Calls(ran, Calls(ran))),
    "in a key": {Calls(ran).call[0]: 1},
    "exit": Calls(sys.exit, 3),
    "allowed name, other arguments": Calls(OrderedDict, Calls(ran)),
    "tensor of code": Calls(torch._utils._rebuild_tensor_v2, Calls(ran), 0, (1,), (1,), False, OrderedDict()),
    "hooks": Calls(torch._utils._rebuild_parameter, torch.zeros(1), True, OrderedDict({1: ran})),
    "type": Calls(type, "X", (), {"__reduce__": ran}),
    "breakpoint": Calls(builtins.breakpoint),
}


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder in which nothing may happen, in a process where nothing may change."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "witness").write_text("still here")
    RAN.clear()
    modules, load = set(sys.modules), torch.load
    yield tmp_path
    assert not RAN
    assert torch.load is load and Path.cwd() == tmp_path
    assert not {name for name in set(sys.modules) - modules if not name.startswith(("torch.", "encodings."))}
    assert {path.name for path in tmp_path.iterdir()} <= {"witness", "a.pt"}
    assert (tmp_path / "witness").read_text() == "still here"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", OBJECTS)
def test_nothing_of_a_pickle_runs(watched: Path, name: str, zipped: bool) -> None:
    content = {"state_dict": {"a": torch.arange(3.0)}, "evil": OBJECTS[name]}
    torch.save(content, "a.pt", _use_new_zipfile_serialization=zipped)
    read = read_content(Path("a.pt"))
    assert torch.equal(read["state_dict"]["a"], torch.arange(3.0))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", [name for name in OBJECTS if "torch" not in name])
def test_nothing_runs_in_any_protocol(watched: Path, name: str, protocol: int) -> None:
    try:
        written = pickle.dumps([OBJECTS[name]], protocol)
    except Exception:
        pytest.skip("this protocol cannot write it")
    assert isinstance(inert_pickle.load(io.BytesIO(written)), list)


def op(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


RAW = {
    "INST": op(b"(S'touch ran_code'\nios\nsystem\n"),
    "OBJ": op(b"(" + named("os", "system") + b"S'touch ran_code'\no"),
    "STACK_GLOBAL": op(b"\x8c\x02os\x8c\x06system\x93\x8c\x0etouch ran_code\x85R"),
    "NEWOBJ_EX": op(named("os", "system"), b"\x8c\x0etouch ran_code\x85}\x92"),
    "BUILD on a class": op(named("torch", "Tensor"), b"}\x8c\x03add" + named("os", "system") + b"sb"),
    "BUILD on a function": op(named("torch._utils", "_rebuild_tensor_v2"), b"N}\x8c\x0c__defaults__)s\x86b"),
    "BUILD on a storage class": op(named("torch.storage", "UntypedStorage"), b"N}\x8c\x01x)s\x86b"),
    "REDUCE of a storage class": op(named("torch.storage", "UntypedStorage"), b"K\x40\x85R"),
    "REDUCE of a result": op(named("builtins", "getattr"), b"N\x8c\x01x\x86R)R"),
    "REDUCE of a text": op(b"\x8c\x01x)R"),
    "dotted name": op(b"\x8c\x05torch\x8c\x10_utils.os.system\x93\x8c\x0etouch ran_code\x85R"),
}


@pytest.mark.parametrize("name", RAW)
def test_operations_that_call_or_set_do_neither(watched: Path, name: str) -> None:
    add, defaults = torch.Tensor.add, torch._utils._rebuild_tensor_v2.__defaults__
    inert_pickle.load(io.BytesIO(RAW[name]))
    assert torch.Tensor.add is add and torch._utils._rebuild_tensor_v2.__defaults__ == defaults


@pytest.mark.parametrize(
    "content",
    {
        "key": b"\x80\x02}K\x01" + b"2\x86" * 60 + b"K\x01s.",
        "set": b"\x80\x04\x8f(K\x01" + b"2\x86" * 60 + b"\x90.",
        "frozenset": b"\x80\x04(K\x01" + b"2\x86" * 60 + b"\x91.",
        "dict": b"\x80\x02(K\x01" + b"2\x86" * 60 + b"K\x01d.",
        "pairs": op(named("collections", "OrderedDict"), b"]]K\x01" + b"2\x86" * 60 + b"aK\x01aa\x85R"),
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.",
        "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
        "huge bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"x.",
        "huge number": b"\x80\x02\x8b\xff\xff\xff\x7fx.",
        "long decimal": b"L" + b"9" * 100_000 + b"L\n.",
        "no end": b"\x80\x02}",
        "empty stack": b"\x80\x02R.",
        "no mark": b"\x80\x02t.",
        "lost reference": b"\x80\x02h\x07.",
        "text reference": b"Pstorage\n.",
        "extension": b"\x80\x02\x82\x01.",
        "buffer": b"\x80\x05\x97.",
        "appended to a text": b"\x80\x04\x8c\x01xK\x01a.",
        "keys of a number": b"\x80\x02K\x01K\x01K\x01s.",
        "class of a number": b"\x80\x04K\x01K\x02\x93.",
        "not a pickle": b"\x80\x02\xff\xff",
    }.items(),
    ids=lambda item: item[0],
)
def test_bombs_and_damage_are_refused(content: tuple[str, bytes]) -> None:
    with pytest.raises(pickle.UnpicklingError):
        inert_pickle.load(io.BytesIO(content[1]))


def test_a_pickle_of_millions_of_operations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert_pickle, "MAX_OPERATIONS", 1000)
    with pytest.raises(pickle.UnpicklingError, match="1000 operations"):
        inert_pickle.load(io.BytesIO(b"\x80\x02(" + b"}" * 1000 + b"t."))


def test_deep_nesting_is_read_without_recursion() -> None:
    read = inert_pickle.load(io.BytesIO(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."))
    assert isinstance(read, list) and len(read) == 1


def test_values_beside_the_tensors_are_what_they_were(tmp_path: Path) -> None:
    values = {
        "texts": ["a", "ü", ""],
        "numbers": (1, -1, 1 << 70, 1.5, True, None),
        "bytes": b"\x00\xff",
        "set": {1, 2},
        "frozen": frozenset({"x"}),
        "ordered": OrderedDict(a=1),
        "counted": Counter("aab"),
        "size": torch.Size([2, 3]),
        "scalar": np.float32(0.5),
        "integer": np.int64(7),
    }
    torch.save({**values, "code": Calls(ran)}, tmp_path / "a.pt")
    read = read_content(tmp_path / "a.pt")
    assert {name: read[name] for name in values} == values
    assert not RAN


@pytest.mark.parametrize(
    "array", [np.array(["a", "bc"]), np.array(["a", "bc"], dtype=object), np.arange(6).reshape(2, 3)], ids=str
)
def test_arrays_become_lists(tmp_path: Path, array: Any) -> None:
    torch.save({"x": array, "code": Calls(ran)}, tmp_path / "a.pt")
    assert array_values(read_content(tmp_path / "a.pt")["x"]) == array.tolist()


def test_harmless_objects_need_no_trust(tmp_path: Path) -> None:
    content = {
        "args": argparse.Namespace(model="x", path=pathlib.PurePosixPath("/a")),
        "when": datetime.datetime(2026, 1, 2),
        "counts": defaultdict(list, a=[1]),
        "model": {"a": torch.zeros(2)},
    }
    torch.save(content, tmp_path / "a.pt")
    read = read_content(tmp_path / "a.pt")
    assert read["args"].attributes["model"] == "x"
    assert read["counts"] == {"a": [1]}
    assert torch.equal(read["model"]["a"], torch.zeros(2))


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    """The same archive with another pickle in it."""
    with zipfile.ZipFile(path) as archive:
        records = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, record in records.items():
            archive.writestr(name, change(record) if name.endswith("data.pkl") else record)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x08\x85", b"J\x00\x00\x00\x10\x85"),  # size
        (b"QK\x00", b"QJ\x00\x00\x00\x10"),  # offset
        (b"K\x08t", b"J\x00\x00\x00\x10t"),  # of the storage
        (b"K\x08t", b"J\xff\xff\xff\xfft"),
        (b"K\x08\x85", b"J\xff\xff\xff\xff\x85"),
        (b"storage", b"strange"),
        (b"FloatStorage", b"FlootStorage"),
    ],
)
def test_tensors_larger_than_their_numbers_are_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "a.pt"
    torch.save({"code": Calls(ran), "a": torch.arange(8.0)}, path)
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("a/data.pkl")
    assert old in pickled
    rewritten(path, lambda content: content.replace(old, new))
    with pytest.raises(CheckpointError, match="not a checkpoint that PyTorch can read"):
        read_content(path)


def looked_up(identifier: object) -> list[object]:
    """The references that reading one of them asks ``torch.load`` for."""
    asked: list[object] = []
    unpickler = inert_pickle.Unpickler(io.BytesIO(pickle.dumps(identifier, 2)[:-1] + b"Q."))
    unpickler.persistent_load = asked.append
    unpickler.load()
    return asked


@pytest.mark.parametrize(
    "identifier",
    [
        ("storage", None, "0", "cpu", -1),
        ("storage", None, "0", "cpu", True),
        ("storage", None, "0", "cpu", 8.0),
        ("storage", None, "0", "cpu"),
        ("storage", None, 0, "cpu", 8),
        ("storage", None, "0", None, 8),
        ("storage", None, "0", "cpu", 8, (0, 1)),
        ("storage", None, "0", "cpu", 8, None, None),
        ("storage", ran, "0", "cpu", 8),
        ("strange", None, "0", "cpu", 8),
        ["storage", None, "0", "cpu", 8],
        (),
    ],
    ids=lambda identifier: str(identifier).split(" at 0x")[0],
)
def test_a_reference_to_no_storage_is_refused_before_anything_is_looked_up(identifier: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="a reference to"):
        looked_up(identifier)


@pytest.mark.parametrize("more", [(), (None,)])
def test_a_reference_to_a_storage_is_looked_up(more: tuple[None, ...]) -> None:
    identifier = ("storage", None, "0", "cpu", 8, *more)
    assert looked_up(identifier) == [identifier]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_modules_are_held_by_what_stands_for_them(tmp_path: Path, zipped: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    torch.save({"model": module}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    read = read_content(tmp_path / "a.pt")["model"]
    assert isinstance(read, Inert) and read.path == "torch.nn.modules.container.Sequential"
    first = read.attributes["_modules"]["0"]
    assert torch.equal(first.attributes["_parameters"]["weight"], module[0].weight)
