"""Reading a pickle of plain data without executing it.

A pickle is a program, and running an untrusted one runs anything. CIFAR's Python archives are pickles all the
same, so their instructions are *interpreted* here: numbers, strings, lists, tuples, dictionaries and numeric
NumPy arrays are built by this file's own code; whatever else a pickle names is refused by that name, and
nothing is ever imported or called on its behalf.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
LITERALS = (*NUMBERS, *TEXTS, *BYTES)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
CONTAINERS = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
STORES = ("PUT", "BINPUT", "LONG_BINPUT")
FETCHES = ("GET", "BINGET", "LONG_BINGET")
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# The names that pickles of arrays and bytes use, old and new; each has its own harmless reading below.
NAMES = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "numpy.core.multiarray _reconstruct": "reconstruct",
    "numpy._core.multiarray _reconstruct": "reconstruct",
    "numpy.core.numeric _frombuffer": "frombuffer",
    "numpy._core.numeric _frombuffer": "frombuffer",
    "_codecs encode": "encode",
    "__builtin__ bytes": "bytes",
}


class RefusedPickle(ValueError):
    """The pickle asks for more than plain data."""


@dataclass(frozen=True)
class _Name:
    meaning: str


@dataclass
class _DType:
    code: str
    order: str = "|"


@dataclass
class _Array:
    """An array under construction: NumPy's pickles make it empty first and fill it later."""

    value: np.ndarray | None = None


_MARK = object()


def _make_array(data: Any, dtype: _DType, shape: tuple[int, ...], *, fortran: bool) -> np.ndarray:
    raw = data.encode("latin-1") if isinstance(data, str) else data
    kind = np.dtype(dtype.order + dtype.code)
    if not isinstance(raw, bytes | bytearray) or len(raw) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"array of shape {shape} does not fit its data")
    return np.frombuffer(bytes(raw), kind).reshape(shape, order="F" if fortran else "C")


def _named(name: str) -> _Name:
    if name not in NAMES:
        raise RefusedPickle(f"it asks for {'.'.join(name.split(' '))}")
    return _Name(NAMES[name])


def _reduce(function: Any, arguments: Any) -> Any:
    """What calling `function` would give, for the few names known; builds it here instead of calling."""
    match function:
        case _Name("dtype"):
            code = arguments[0] if isinstance(arguments[0], str) else ""
            if not re.fullmatch(r"[iuf][1248]|b1", code):
                raise RefusedPickle(f"it holds an array of type {code!r}, not of numbers")
            return _DType(code)
        case _Name("reconstruct") if arguments[0] == _Name("ndarray"):
            return _Array()
        case _Name("frombuffer"):
            data, dtype, shape, order = arguments
            return _Array(_make_array(data, dtype, tuple(shape), fortran=order == "F"))
        case _Name("encode") if arguments[1] in ("latin1", "latin-1"):
            return arguments[0].encode("latin-1")
        case _Name("bytes") if arguments == ():  # how protocols 1 and 2 write b""
            return b""
    raise RefusedPickle("it calls something that is not a NumPy array")


def _build(target: Any, state: Any) -> None:
    """Fills a dtype or an array with its pickled state."""
    if isinstance(target, _DType) and state[1] in ("|", "<", ">", "="):
        target.order = state[1]
    elif isinstance(target, _Array):
        _, shape, dtype, fortran, data = state
        target.value = _make_array(data, dtype, tuple(shape), fortran=bool(fortran))
    else:
        raise RefusedPickle("it sets the state of something that is not a NumPy array")


class _Stack(list):
    """The pickle machine's stack."""

    def to_mark(self) -> list:
        """Pops everything above the last mark, and the mark."""
        at = max(i for i, item in enumerate(self) if item is _MARK)
        items = list(self[at + 1 :])
        del self[at:]
        return items


def _step(stack: _Stack, memo: dict[int, Any], code: str, argument: Any) -> None:
    """One instruction other than STOP."""
    match code:
        case "PROTO" | "FRAME":
            pass
        case "MARK":
            stack.append(_MARK)
        case "MEMOIZE":
            memo[len(memo)] = stack[-1]
        case "TUPLE" | "LIST" | "DICT":
            items = stack.to_mark()
            made = dict(zip(items[::2], items[1::2], strict=True)) if code == "DICT" else items
            stack.append(tuple(items) if code == "TUPLE" else made)
        case "APPEND" | "APPENDS":
            items = stack.to_mark() if code == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        case "SETITEM" | "SETITEMS":
            items = stack.to_mark() if code == "SETITEMS" else [stack.pop(-2), stack.pop()]
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        case "GLOBAL":
            stack.append(_named(argument))
        case "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(_named(" ".join((module, name))))
        case "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_reduce(function, arguments))
        case "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        case _ if code in LITERALS:
            stack.append(argument)
        case _ if code in CONSTANTS:
            stack.append(CONSTANTS[code])
        case _ if code in CONTAINERS:
            stack.append(CONTAINERS[code]())
        case _ if code in STORES:
            memo[argument] = stack[-1]
        case _ if code in FETCHES:
            stack.append(memo[argument])
        case _ if code in TUPLES:
            items = stack[-TUPLES[code] :]
            del stack[-TUPLES[code] :]
            stack.append(tuple(items))
        case _:
            raise RefusedPickle(f"it uses the instruction {code}")


def read_plain_pickle(data: bytes, *, name: str) -> dict[str, Any]:
    """The dictionary that a pickle of plain data describes; keys as str, Python 2 strings read as Latin-1.

    Args:
      data: the file's bytes.
      name: what to call the file in messages.

    Raises:
      RefusedPickle: if it names or calls anything but NumPy's array reconstruction. Nothing has been
        executed.
      ValueError: if it is damaged or not a dictionary.
    """
    stack = _Stack()
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name != "STOP":
                _step(stack, memo, opcode.name, argument)
        (top,) = stack
    except RefusedPickle as error:
        raise RefusedPickle(
            f"{name} is refused: {error}. Only numbers, text, lists, dictionaries and NumPy arrays are read "
            "from a pickle; nothing in it was executed. Do not open this file with pickle.load."
        ) from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name} is not a readable pickle ({error}). Fetch it again.") from error
    if not isinstance(top, dict):
        raise ValueError(f"{name} holds a {type(top).__name__}; expected a dictionary.")
    text = {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in top.items()}
    return {key: value.value if isinstance(value, _Array) else value for key, value in text.items()}
