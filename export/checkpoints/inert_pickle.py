"""Pickles read as data: opcodes are interpreted, containers and tensors are built, and nothing is ever called.

``torch.load(..., weights_only=False, pickle_module=inert_pickle)`` reads checkpoints that way, in both of PyTorch's
formats: a class or function that the pickle names is not imported, and an object of it is an
:class:`~edgedet.export.checkpoints.inert_objects.Inert`. Tensors are built, from storages that torch.load reads,
after their sizes were checked.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from typing import IO, Any

import torch

from .inert_objects import Inert, Named, made, mapping, unique

MAX_OPERATIONS = 5_000_000
"""More than the pickle of any checkpoint has, whose numbers are kept beside it; bounds memory and time."""

PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Its names of modules, which protocol 2 still writes."""


def load(file: IO[bytes], **settings: Any) -> Any:
    """Read one pickle from ``file``; ``settings`` are those of ``pickle.load`` and have no meaning here.

    Raises:
        pickle.UnpicklingError: no pickle, a damaged one, or one that is too long.
    """
    return Unpickler(file).load()


class Unpickler:
    """The interface of ``pickle.Unpickler``, as far as ``torch.load`` uses it."""

    def __init__(self, file: IO[bytes], **settings: Any) -> None:
        self._file = file
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self.persistent_load: Callable[[Any], Any] | None = None

    def find_class(self, module: str, name: str) -> Any:
        """The name itself: nothing is imported."""
        path = f"{PYTHON_2.get(module, module)}.{name}"
        # torch.load compares with the class.
        return torch.UntypedStorage if path == "torch.storage.UntypedStorage" else Named(path)

    def load(self) -> Any:
        """Read one pickle; as the function of this name."""
        operations = 0
        try:
            for opcode, argument, _ in pickletools.genops(self._file):
                if opcode.name == "STOP":
                    return self._stack.pop()
                operations += 1
                if operations > MAX_OPERATIONS:
                    raise pickle.UnpicklingError(f"more than {MAX_OPERATIONS} operations")
                self._do(opcode.name, argument)
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # what damage leads to: an empty stack, a text that is none, a lost reference
            raise pickle.UnpicklingError(f"damaged ({type(error).__name__}: {error})") from error
        raise pickle.UnpicklingError("it has no end")

    def _do(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self._memo[argument])
            case "MARK":
                self._below.append(stack)
                self._stack = []
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(set())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._take(int(name[-1]))))
            case "TUPLE":
                items = self._since_mark()
                self._stack.append(tuple(items))
            case "LIST":
                items = self._since_mark()
                self._stack.append(items)
            case "DICT":
                items = self._since_mark()
                self._stack.append(mapping(zip(items[::2], items[1::2], strict=True)))
            case "FROZENSET":
                items = self._since_mark()
                self._stack.append(unique(items))
            case "GLOBAL" | "STACK_GLOBAL":
                module, attribute = argument.split(" ", 1) if name == "GLOBAL" else self._take(2)
                if not isinstance(module, str) or not isinstance(attribute, str):
                    raise pickle.UnpicklingError("a class without a name")
                stack.append(self.find_class(module, attribute))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._take(2)
                stack.append(made(function, arguments))
            case "NEWOBJ_EX":
                function, arguments, keywords = self._take(3)
                stack.append(made(function, (*arguments, keywords) if keywords else arguments))
            case "INST":
                items = self._since_mark()
                self._stack.append(made(self.find_class(*argument.split(" ", 1)), tuple(items)))
            case "OBJ":
                function, *items = self._since_mark()
                self._stack.append(made(function, tuple(items)))
            case "BUILD":
                (state,) = self._take(1)
                # What an OrderedDict (a state_dict's versions) or a tensor would be given is not needed.
                if isinstance(stack[-1], Inert):
                    stack[-1].state = state
            case "APPEND" | "APPENDS":
                items = self._take(1) if name == "APPEND" else self._since_mark()
                self._append(items)
            case "SETITEM" | "SETITEMS":
                items = self._take(2) if name == "SETITEM" else self._since_mark()
                self._set(items)
            case "ADDITEMS":
                items = self._since_mark()
                self._add(items)
            case "BINPERSID":
                (identifier,) = self._take(1)
                stack.append(self._kept_outside(identifier))
            case "POP":
                if stack:
                    stack.pop()
                else:
                    self._since_mark()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PROTO" | "FRAME":
                pass
            # Not torch.save's: persistent ids as text, registered extensions, buffers out of band.
            case "PERSID" | "EXT1" | "EXT2" | "EXT4" | "NEXT_BUFFER" | "READONLY_BUFFER":
                raise pickle.UnpicklingError(f"the operation {name}")
            case _:  # all others push their argument: numbers, texts, bytes
                stack.append(argument)

    def _take(self, count: int) -> list[Any]:
        first = len(self._stack) - count
        if first < 0:
            raise pickle.UnpicklingError("an empty stack")
        taken = self._stack[first:]
        del self._stack[first:]
        return taken

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        target = target.items if isinstance(target, Inert) else target
        if not isinstance(target, list):
            raise pickle.UnpicklingError(f"a {type(target).__name__} that is appended to")
        target.extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        target = target.mapping if isinstance(target, Inert) else target
        if not isinstance(target, dict):
            raise pickle.UnpicklingError(f"a {type(target).__name__} that has keys")
        target.update(mapping(zip(items[::2], items[1::2], strict=True)))

    def _add(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Inert):
            target.items.extend(items)
        elif isinstance(target, set):
            target.update(unique(items))
        else:
            raise pickle.UnpicklingError(f"a {type(target).__name__} that is added to")

    def _kept_outside(self, identifier: Any) -> Any:
        """What ``torch.save`` keeps beside the pickle: the numbers of tensors."""
        if not isinstance(identifier, tuple) or len(identifier) < 2 or self.persistent_load is None:
            raise pickle.UnpicklingError("a reference to nothing")
        kind, *described = identifier
        if kind == "module":  # before PyTorch 1.6: a class with its source code, which torch.load would compare
            return described[0]
        sound = (
            kind == "storage"
            and 4 <= len(described) <= 5
            and not isinstance(described[0], Named)
            and all(isinstance(text, str) for text in described[1:3])
            and type(described[3]) is int
            and described[3] >= 0
            and described[4:] in ([], [None])
        )
        if not sound:
            raise pickle.UnpicklingError("a reference to no storage")
        return self.persistent_load(identifier)
