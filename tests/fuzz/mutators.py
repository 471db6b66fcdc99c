"""What is done to a good file: mutation k of a seed is always the same one."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

Mutator = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**30, 10**400, 1e308, -1e308),
    *(float("nan"), float("inf"), float("-inf"), 0.5, True, None),
)
ODD: tuple[Any, ...] = (
    *("", "\x00", "\x1b[2J", "\u202e", "\ud800", "../a", "x" * 70_000, "9" * 5000, "é"),
    *([], {}, [[]], {"a": []}, [None], [1, "a"], {"": {"": 0}}),
)
LENGTHS = (0, 1, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def flip(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def run(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """A stretch of one byte, or of noise, over what is there or between it."""
    at, length = rng.randrange(len(data) + 1), rng.randint(1, 40)
    byte = rng.choice((0, 255, 0x28, 0x5B, 0x7B, rng.randrange(256)))
    new = bytes([byte]) * length if rng.random() < 0.5 else rng.randbytes(length)
    return data[:at] + new + data[at + (length if rng.random() < 0.5 else 0) :]


def cut(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """The end is missing, or a part of the middle."""
    at = rng.randrange(len(data) + 1)
    return data[:at] if rng.random() < 0.5 else data[:at] + data[at + rng.randint(1, 200) :]


def splice(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """The begin of one seed and the end of another."""
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def lengths(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """Two, four or eight bytes that may be a length."""
    width, order = rng.choice((2, 4, 8)), rng.choice("<>")
    value = rng.choice(LENGTHS) % 256**width
    at = rng.randrange(max(1, len(data) - width))
    new = struct.pack(order + {2: "H", 4: "I", 8: "Q"}[width], value)
    return data[:at] + new + data[at + width :]


def digits(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """A number in text."""
    places = [k for k, byte in enumerate(data) if chr(byte).isdigit()]
    if not places:
        return flip(data, rng, ())
    at = rng.choice(places)
    word = rng.choice(("-1", "99999999999", "1e999", "nan", "9" * 5000, "0x1", ""))
    return data[:at] + word.encode() + data[at + 1 :]


def tree(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A value of JSON, anywhere in it; of lines of it, in one line."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    try:
        value = json.loads(lines[at])
        lines[at] = json.dumps(_other(value, rng)).encode()
    except (ValueError, RecursionError):
        return digits(data, rng, seeds)
    return b"\n".join(lines)


def head(data: bytes, rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A value in the JSON at the head of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    try:
        value = json.loads(data[8 : 8 + length])
    except ValueError:
        return flip(data, rng, seeds)
    text = json.dumps(_other(value, rng)).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


OPCODES = (
    b"(.0123FIJKLMNPQRSTUVX]abcdeghijlopqrstu}\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d"
    b"\x8e\x8f\x90\x91\x92\x93\x94\x95\x96"
)


def opcodes(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """Instructions of a pickle put in, or in the place of others."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        new = bytes(rng.choice(OPCODES) for _ in range(rng.randint(1, 3)))
        changed[at : at + rng.randint(0, 2)] = new
    return bytes(changed)


def _other(value: Any, rng: random.Random) -> Any:
    """The same with one value replaced, doubled, or gone."""
    inside = isinstance(value, dict | list) and value and rng.random() < 0.8
    if not inside:
        return _odd(value, rng)
    keys = [*value] if isinstance(value, dict) else [*range(len(value))]
    key = rng.choice(keys)
    changed = value.copy()
    way = rng.random()
    if way < 0.1:
        del changed[key]
    elif way < 0.2 and isinstance(value, dict):
        changed[rng.choice(("", "a", "\x1b", "__metadata__", "x" * 300))] = changed.pop(key)
    else:
        changed[key] = _other(value[key], rng)
    return changed


def _odd(value: Any, rng: random.Random) -> Any:
    if isinstance(value, str) and rng.random() < 0.4:
        text = value
        with_json = text[:1] in ("{", "[")
        if with_json:
            try:
                return json.dumps(_other(json.loads(text), rng))
            except ValueError:
                pass
        at = rng.randrange(len(text) + 1)
        return text[:at] + rng.choice(("\x00", "\n", "/", "'", "9" * 50, "\ud800")) + text[at:]
    if rng.random() < 0.05:
        deep: Any = 0
        for _ in range(rng.choice((30, 100, 900))):
            deep = [deep] if rng.random() < 0.5 else {"a": deep}
        return deep
    return rng.choice((*NUMBERS, *ODD))


PLAIN: tuple[Mutator, ...] = (flip, run, cut, splice, lengths)
TEXT = (*PLAIN, digits)
JSON = (*PLAIN, digits, tree, tree, tree)
SAFETENSORS = (*PLAIN, head, head, head, head)
PICKLE = (*PLAIN, opcodes, opcodes, opcodes)


def mutated(name: str, k: int, seeds: Sequence[bytes], mutators: Sequence[Mutator]) -> bytes:
    """Mutation k of the seeds of a reader: one to three changes one after the other."""
    rng = random.Random(f"{name} {k}")
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = rng.choice(mutators)(data, rng, seeds)
    return data[: 1 << 20]
