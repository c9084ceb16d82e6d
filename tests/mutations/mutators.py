"""Ways in which a file comes to be another: by a failing disk, a cut line, a tool, or somebody who wants it so."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

NUMBERS = ("-1", "0", "1e999", "-1e999", "NaN", "1e-320", "99999999999999999999", "2147483648", "0.5", "3.0")
WORDS = ("null", "true", "[]", "{}", '""', "[[[[]]]]", '"\\ud800"', '"' + "x" * 3000 + '"')
BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\x0f", b"\0" * 64, b"{", b'"')
HUGE = (2**31 - 1, 2**31, 2**63 - 1, 10**30, -1, 0, 1, 65536, 1e308, -1e308, 1e-300, float("inf"), float("nan"))


def damage(content: bytes, random: random.Random) -> bytes:
    """A binary file with one to sixteen changes, one more often than sixteen."""
    changed = bytearray(content)
    for _ in range(1 if random.random() < 0.5 else 1 + min(int(random.expovariate(0.4)), 15)):
        _damage_once(changed, random)
    return bytes(changed)


def _damage_once(changed: bytearray, random: random.Random) -> None:
    size = len(changed)
    if not size:
        changed += b"\0"
        return
    place = random.randrange(size)
    match random.randrange(9):
        case 0:
            changed[place] ^= 1 << random.randrange(8)
        case 1:
            changed[place] = random.randrange(256)
        case 2:
            piece = random.choice(BYTES)
            changed[place : place + len(piece)] = piece
        case 3:
            del changed[place : place + random.choice((1, 2, 4, 64, 4096))]
        case 4:
            changed[place:place] = random.randbytes(random.choice((1, 4, 40)))
        case 5:
            del changed[place:]
        case 6:
            piece = changed[place : place + random.choice((4, 100, 1000))]
            there = random.randrange(size)
            changed[there : there + len(piece)] = piece
        case 7:
            changed[place : place + 16] = random.randbytes(16)
        case _:
            # The beginning, where lengths and signs are.
            changed[random.randrange(min(size, 64))] = random.randrange(256)


def disturb(text: bytes, random: random.Random) -> bytes:
    """A text with a few changes: numbers and words become others, pieces go, come twice, or change places."""
    changed = text
    for _ in range(1 if random.random() < 0.6 else random.randrange(2, 7)):
        changed = _disturb_once(changed, random)
    return changed


def _disturb_once(text: bytes, random: random.Random) -> bytes:
    numbers = [match.span() for match in re.finditer(rb"-?\d+(\.\d+)?", text)]
    choice = random.randrange(8)
    if choice <= 2 and numbers:
        begin, end = random.choice(numbers)
        return text[:begin] + random.choice((*NUMBERS, *WORDS)).encode() + text[end:]
    if choice == 3:
        lines = text.split(b"\n")
        at = random.randrange(len(lines))
        other = random.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
        if random.random() < 0.5:
            del lines[at]
        return b"\n".join(lines)
    if choice == 4 and text:
        begin = random.randrange(len(text))
        return text[:begin] + text[begin + random.choice((1, 10, 100)) :]
    if choice == 5 and text:
        begin = random.randrange(len(text))
        piece = text[begin : begin + random.choice((5, 50))]
        return text[:begin] + piece * random.choice((2, 200)) + text[begin:]
    if choice == 6:
        begin = random.randrange(len(text) + 1)
        word = random.choice((*WORDS, *NUMBERS, "[" * 5000, "{" * 500, "<a>" * 500, ",", "\n", "\0", "&amp;", "é"))
        return text[:begin] + word.encode() + text[begin:]
    return damage(text, random)


def restate(card: dict[str, Any], random: random.Random) -> dict[str, Any]:
    """A card, or another tree of JSON, in which a few values are others: of another type, huge, or gone."""
    copy: dict[str, Any] = json.loads(json.dumps(card))
    for _ in range(1 if random.random() < 0.6 else random.randrange(2, 5)):
        places: list[tuple[Any, Any]] = []
        _collect(copy, places)
        if not places:
            return copy
        parent, key = random.choice(places)
        if isinstance(parent, dict) and random.random() < 0.15:
            del parent[key]
            continue
        parent[key] = _other(parent[key], random)
    return copy


def _collect(node: Any, places: list[tuple[Any, Any]]) -> None:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        places.append((node, key))
        _collect(value, places)


def _other(value: Any, random: random.Random) -> Any:
    makers: list[Callable[[], Any]] = [
        lambda: random.choice(HUGE),
        lambda: None,
        lambda: [],
        lambda: {},
        lambda: "x" * random.choice((0, 1, 100_000)),
        lambda: [value] * random.choice((0, 2, 1000)),
        lambda: {"a": value},
        lambda: not value,
    ]
    if isinstance(value, int | float) and not isinstance(value, bool):
        makers += [lambda: value * random.choice((-1, 2, 1000)), lambda: random.choice(HUGE)] * 3
    if isinstance(value, str):
        makers += [lambda: value[::-1], value.upper, lambda: value + "\0"]
    return random.choice(makers)()
