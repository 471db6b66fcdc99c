"""A pickle machine that builds plain values and runs nothing: every class is an inert Foreign."""

from __future__ import annotations

import io
import pickletools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from dseinvert import names
from dseinvert.pickled.budget import Budget

Rebuild = Mapping[str, Callable[..., Any]]
"""By "module.name": what may stand for a function of the pickle. Pure; raises ValueError."""

MAX_STEPS = 4_000_000
"""A few seconds; whole networks are some hundred thousand."""
_ALIASES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
_DICTS = ("OrderedDict", "EasyDict")
_SCALARS = (str, bytes, int, float, type(None))
_LONGEST_KEY = 16  # parts: of a tuple, no hash is kept


@dataclass(eq=False, repr=False, slots=True)
class Foreign:
    """A class or function that a pickle names, or (`called`) an instance or a result of it.

    Nothing was imported or run: `args` and `kwargs` are what it would have been called with,
    `state` what its instance would have been given, `items` and `entries` what would have been
    appended to it and set in it.
    """

    module: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)
    called: bool = False

    def __repr__(self) -> str:
        return f"<{self.module}.{self.name}>"


def printable(text: str) -> str:
    """A file's own words on one line that a terminal shows as they are."""
    return names.printable(" ".join(text.split()))


def kind(value: Any) -> str:
    """What a value is, for a message."""
    return repr(value) if isinstance(value, Foreign) else f"a {type(value).__name__}"


@dataclass(eq=False)
class _Machine:
    rebuild: Rebuild
    persistent: Callable[[Any], Any]
    budget: Budget
    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)


def unpickle(
    file: io.BytesIO, rebuild: Rebuild, persistent: Callable[[Any], Any], budget: Budget
) -> Any:
    """The value of the pickle at the position of `file`, which is left after its end.

    All that is made is taken from `budget`, also what is dropped again: so it bounds memory and
    time alike.

    Raises:
        ValueError: damaged, or asking for what no checkpoint needs.
    """
    machine = _Machine(rebuild, persistent, budget)
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if opcode.name == "STOP":
                return machine.stack.pop()
            if step > MAX_STEPS:
                raise ValueError(f"more than {MAX_STEPS:,} steps")
            if opcode.name in _LITERALS:
                budget.spend(8 + sys.getsizeof(argument))
                machine.stack.append(argument)
            else:
                budget.spend(_COSTS.get(opcode.name, 16))
                _STEPS[opcode.name](machine, argument)
    except IndexError as error:
        raise ValueError("damaged pickle: its stack is empty") from error
    except KeyError as error:
        raise ValueError(f"damaged or unknown pickle instruction: {error}") from error
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"damaged pickle: {error}") from error
    raise ValueError("damaged pickle: no end")


_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


def _push(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


def _mark(machine: _Machine, _: Any) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _above_mark(machine: _Machine) -> list[Any]:
    items, machine.stack = machine.stack, machine.below.pop()
    machine.budget.spend(16 * len(items))
    return items


def _from_mark(make: Callable[[list[Any]], Any]) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        items = _above_mark(machine)
        machine.stack.append(make(items))

    return step


def _dict(machine: _Machine, _: Any) -> None:
    items = _above_mark(machine)
    machine.stack.append(_pairs(machine, items))


def _frozenset(machine: _Machine, _: Any) -> None:
    items = _above_mark(machine)
    machine.stack.append(frozenset(_key(machine, item) for item in items))


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    def step(machine: _Machine, _: Any) -> None:
        items = [machine.stack.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return step


def _append(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Foreign):
        target.items.extend(items)
    else:
        raise ValueError(f"appends to a {type(target).__name__}")


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, Foreign):
        target = target.entries
    if not isinstance(target, dict):
        raise ValueError(f"sets items of a {type(target).__name__}")
    target.update(_pairs(machine, items))


def _add_items(machine: _Machine, _: Any) -> None:
    items = _above_mark(machine)
    target = machine.stack[-1]
    if isinstance(target, Foreign):
        target.items.extend(items)
    elif isinstance(target, set):
        target.update(_key(machine, item) for item in items)
    else:
        raise ValueError(f"adds to a {type(target).__name__}")


def _pairs(machine: _Machine, items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("damaged pickle: a key without a value")
    return {_key(machine, key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(machine: _Machine, key: Any) -> Any:
    """Only flat keys: the hash of deeply nested tuples would overflow the C stack.

    The hash of a large number or tuple is counted anew each time, and long texts are compared.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) > _LONGEST_KEY or not all(_is_plain(part) for part in parts):
        raise ValueError("a key that is no plain value")
    machine.budget.spend(128 + sum(len(part) for part in parts if isinstance(part, str | bytes)))
    return key


def _is_plain(part: Any) -> bool:
    if isinstance(part, int):
        return abs(part) < 2**64
    return isinstance(part, (*_SCALARS, Foreign))


def _pop(machine: _Machine, _: Any) -> None:
    if machine.stack:
        machine.stack.pop()
    else:  # what is on top is a mark
        machine.stack = machine.below.pop()


def _pop_mark(machine: _Machine, _: Any) -> None:
    _above_mark(machine)


def _put(machine: _Machine, index: int | None) -> None:
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


def _get(machine: _Machine, index: int) -> None:
    machine.stack.append(machine.memo[index])


def _two(machine: _Machine) -> tuple[Any, Any]:
    last = machine.stack.pop()
    return machine.stack.pop(), last


def _global(machine: _Machine, argument: str) -> None:
    machine.stack.append(_named(*argument.split(" ", 1)))


def _stack_global(machine: _Machine, _: Any) -> None:
    machine.stack.append(_named(*_two(machine)))


def _named(module: Any, name: Any = "") -> Foreign:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("damaged pickle: a class without a name")
    return Foreign(_ALIASES.get(module, module), name)


def _reduce(machine: _Machine, _: Any) -> None:
    function, args = _two(machine)
    machine.stack.append(_call(machine, function, args, {}))


def _new_with_kwargs(machine: _Machine, _: Any) -> None:
    kwargs = machine.stack.pop()
    cls, args = _two(machine)
    machine.stack.append(_call(machine, cls, args, kwargs))


def _inst(machine: _Machine, argument: str) -> None:
    args = tuple(_above_mark(machine))
    machine.stack.append(_call(machine, _named(*argument.split(" ", 1)), args, {}))


def _obj(machine: _Machine, _: Any) -> None:
    cls, *args = _above_mark(machine)
    machine.stack.append(_call(machine, cls, tuple(args), {}))


def _call(machine: _Machine, function: Any, args: Any, kwargs: Any) -> Any:
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise ValueError("damaged pickle: arguments that are none")
    if not isinstance(function, Foreign) or function.called:
        machine.budget.spend(8 * len(args))
        return Foreign("", "call", (function, *args), kwargs, called=True)
    machine.budget.spend(8 * len(args) + sum(map(_size, args)))
    name = f"{function.module}.{function.name}"
    if name in machine.rebuild and not kwargs:
        made = machine.rebuild[name](*args)
        # A view takes no memory, but whoever keeps it makes a copy, and there may be many of one.
        machine.budget.spend(getattr(made, "nbytes", 0))
        if isinstance(made, Tensor):
            machine.budget.hold(made.numel())
        return made
    if function.name in _DICTS and len(args) <= 1 and not kwargs:
        return _as_dict(machine, *args)
    if name == "copyreg._reconstructor" and args and isinstance(args[0], Foreign):
        return _call(machine, args[0], tuple(a for a in args[2:] if isinstance(a, dict)), {})
    return Foreign(function.module, function.name, args, kwargs, called=True)


def _size(part: Any) -> int:
    """What a copy of it takes at most, as far as a function of `rebuild` makes one."""
    if isinstance(part, str | bytes | bytearray):
        return 4 * len(part)
    return 128 * len(part) if isinstance(part, dict | list | tuple | set | frozenset) else 0


def _as_dict(machine: _Machine, content: Any = ()) -> dict[Any, Any]:
    if isinstance(content, dict):
        return dict(content)
    return _pairs(machine, [part for key, value in content for part in (key, value)])


def _build(machine: _Machine, _: Any) -> None:
    target, state = _two(machine)
    machine.stack.append(target)
    if isinstance(target, Foreign):
        target.state = state
    elif f"state of {type(target).__name__}" in machine.rebuild:
        machine.rebuild[f"state of {type(target).__name__}"](target, state)
    elif not isinstance(target, dict):  # an OrderedDict's attributes say nothing about weights
        raise ValueError(f"sets the state of a {type(target).__name__}")


def _persistent(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.persistent(machine.stack.pop() if argument is None else argument))


def _nothing(machine: _Machine, _: Any) -> None:
    del machine


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _nothing,
    "FRAME": _nothing,
    "NONE": _push(lambda: None),
    "NEWTRUE": _push(lambda: True),
    "NEWFALSE": _push(lambda: False),
    "EMPTY_LIST": _push(list),
    "EMPTY_TUPLE": _push(tuple),
    "EMPTY_DICT": _push(dict),
    "EMPTY_SET": _push(set),
    "MARK": _mark,
    "LIST": _from_mark(list),
    "TUPLE": _from_mark(tuple),
    "DICT": _dict,
    "FROZENSET": _frozenset,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": lambda machine, _: _append(machine, [machine.stack.pop()]),
    "APPENDS": lambda machine, _: _append(machine, _above_mark(machine)),
    "SETITEM": lambda machine, _: _set_items(machine, list(_two(machine))),
    "SETITEMS": lambda machine, _: _set_items(machine, _above_mark(machine)),
    "ADDITEMS": _add_items,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    **{name: _put for name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")},
    **{name: _get for name in ("GET", "BINGET", "LONG_BINGET")},
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_with_kwargs,
    "INST": _inst,
    "OBJ": _obj,
    "BUILD": _build,
    "PERSID": _persistent,
    "BINPERSID": _persistent,
}

_CALL = 640  # a Foreign with its parts, or a tensor
_COSTS = {
    **{name: _CALL for name in ("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ")},
    **{name: 112 for name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")},
    **{name: 64 for name in ("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "LIST", "MARK", "APPEND")},
    "NEWOBJ_EX": _CALL,
    "EMPTY_LIST": 72,
    "EMPTY_DICT": 240,
    "EMPTY_SET": 240,
    "DICT": 240,
    "FROZENSET": 240,
}
"""Bytes that a step takes at least."""
