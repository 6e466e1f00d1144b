"""Foreign pickles, read without running or importing anything that they name.

`pickletools` of the standard library splits the bytes into opcodes without interpreting them. The
small machine here runs them on plain data. The name of a class or function becomes a `Global`, just
the name. Where the pickle would call it, `calls` says what to make instead.
"""

import dataclasses
import pickletools
import re
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

Calls = Mapping[str, Callable[[tuple], Any]]

LONGEST = 2**28  # bytes of one item; weights are never inside the pickle
WIDEST = 4096  # bits of an integer; Python does not print more than 4300 digits

LITERALS = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
    + ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE")
    + ("BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8")
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}

# Functions that get a callable as an argument: name -> (what is called, its arguments).
INDIRECT: Mapping[str, Callable[[tuple], tuple[Any, tuple]]] = {
    "copyreg._reconstructor": lambda args: (args[0], args[1:]),
    "copy_reg._reconstructor": lambda args: (args[0], args[1:]),
    "torch._tensor._rebuild_from_type_v2": lambda args: (args[0], args[2]),
}


class Refused(Exception):
    """The pickle wants to run something; the argument names it."""


class Damaged(Exception):
    """The bytes are not a whole pickle."""


@dataclasses.dataclass(frozen=True)
class Global:
    """The name of a class or function, such as "collections.OrderedDict"."""

    name: str


class Inert:
    """Stands for an object of the class `name` that was not made, and keeps only the name."""

    def __init__(self, name: str):
        self.name = name


class Bounded:
    """Reads a file item by item; no item may be longer than LONGEST."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def read(self, n: int) -> bytes:
        if not 0 <= n <= LONGEST:
            raise Damaged(f"an item of {n:,} bytes in the pickle")
        return self._file.read(n)

    def readline(self) -> bytes:
        return self._file.readline(1 << 16)


def load(
    file: BinaryIO, calls: Calls, inert: re.Pattern[str], persistent: Callable[[Any], Any]
) -> Any:
    """The object of the pickle that starts at the position of `file`; reads to the pickle's end.

    Dicts of all classes become dict, lists become list, and sets and everything else an Inert.

    Args:
      file: of bytes, at the start of the pickle.
      calls: name that is called -> function of the arguments that gives the result instead.
      inert: other names that may be called; the result is an Inert of that name.
      persistent: function of a persistent id that gives the result.

    Raises:
      Refused: the pickle calls anything else, or changes a class or function.
      Damaged: it is not a pickle, is cut short, or uses opcodes that no checkpoint has.
    """
    try:
        return _Machine(calls, inert, persistent).run(file)
    # Malformed opcodes lead to these: a wrong opcode or argument to a ValueError of pickletools, an
    # empty stack to an IndexError, an unknown memo to a KeyError, a wrong operand to the others.
    except (
        ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        raise Damaged(f"{type(error).__name__}: {error}") from error


class _Machine:
    """The stack, the stacks below the marks, and the memo of one pickle."""

    def __init__(self, calls: Calls, inert: re.Pattern[str], persistent: Callable[[Any], Any]):
        self.calls, self.inert, self.persistent = calls, inert, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        for opcode, arg, _ in pickletools.genops(Bounded(file)):
            name = opcode.name
            if name in LITERALS:
                if isinstance(arg, int) and arg.bit_length() > WIDEST:
                    raise Damaged(f"a number of {arg.bit_length():,} bits")
                self.stack.append(arg)
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name])
            elif name.startswith("EXT"):
                raise Refused(f"extension code {arg}")
            elif name not in ("PROTO", "FRAME", "STOP"):
                step = getattr(self, f"do_{name.lower()}", None)
                if step is None:
                    raise Damaged(f"opcode {name}")
                step() if arg is None else step(arg)
        return self.stack.pop()

    def call(self, function: Any, args: Any) -> Any:
        """The stand-in for function(*args)."""
        while isinstance(function, Global) and function.name in INDIRECT:
            function, args = INDIRECT[function.name](args)
        if not isinstance(function, Global):
            raise Refused(f"an object of type {type(function).__name__}")
        if not isinstance(args, tuple):
            raise Damaged(f"{function.name} called with a {type(args).__name__}")
        if function.name in self.calls:
            return self.calls[function.name](args)
        if self.inert.fullmatch(function.name):
            return Inert(function.name)
        raise Refused(function.name)

    # ---- marks, memo and stack

    def marked(self) -> list[Any]:
        """Pops what was pushed since the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def do_mark(self):
        self.below.append(self.stack)
        self.stack = []

    do_pop_mark = marked

    def do_pop(self):
        if self.stack:
            self.stack.pop()
        else:
            self.marked()

    def do_dup(self):
        self.stack.append(self.stack[-1])

    def do_put(self, index: int):
        self.memo[index] = self.stack[-1]

    do_binput = do_long_binput = do_put

    def do_memoize(self):
        self.memo[len(self.memo)] = self.stack[-1]

    def do_get(self, index: int):
        self.stack.append(self.memo[index])

    do_binget = do_long_binget = do_get

    # ---- containers

    def do_empty_tuple(self):
        self.stack.append(())

    def do_tuple1(self):
        self._tuple(1)

    def do_tuple2(self):
        self._tuple(2)

    def do_tuple3(self):
        self._tuple(3)

    def _tuple(self, n: int):
        if len(self.stack) < n:
            raise Damaged("a tuple of too few items")
        self.stack[-n:] = [tuple(self.stack[-n:])]

    def do_tuple(self):
        items = self.marked()
        self.stack.append(tuple(items))

    def do_empty_list(self):
        self.stack.append([])

    def do_list(self):
        items = self.marked()
        self.stack.append(items)

    def do_append(self):
        item = self.stack.pop()
        self._extend([item])

    def do_appends(self):
        items = self.marked()
        self._extend(items)

    def _extend(self, items: list[Any]):
        # The contents of an Inert (a deque, say) do not matter.
        if not isinstance(self.stack[-1], Inert):
            self.stack[-1].extend(items)

    def do_empty_dict(self):
        self.stack.append({})

    def do_dict(self):
        items = self.marked()
        self.stack.append(as_dict(zip(items[::2], items[1::2], strict=True)))

    def do_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def do_setitems(self):
        items = self.marked()
        self._update(items)

    def _update(self, items: list[Any]):
        if not isinstance(self.stack[-1], Inert):
            self.stack[-1].update(as_dict(zip(items[::2], items[1::2], strict=True)))

    def do_empty_set(self):
        self.stack.append(Inert("set"))

    def do_additems(self):
        self.marked()

    def do_frozenset(self):
        self.marked()
        self.stack.append(Inert("frozenset"))

    # ---- names, and what would be calls

    def do_global(self, name: str):
        self.stack.append(Global(dotted(*name.split(" ", 1))))

    def do_stack_global(self):
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise Damaged("a name that is not text")
        self.stack.append(Global(dotted(module, name)))

    def do_persid(self, pid: str):
        self.stack.append(self.persistent(pid))

    def do_binpersid(self):
        self.stack.append(self.persistent(self.stack.pop()))

    def do_reduce(self):
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(function, args))

    do_newobj = do_reduce

    def do_newobj_ex(self):
        self.stack.pop()  # keyword arguments
        self.do_reduce()

    def do_inst(self, name: str):
        args = tuple(self.marked())
        self.stack.append(self.call(Global(dotted(*name.split(" ", 1))), args))

    def do_obj(self):
        function, *args = self.marked()
        self.stack.append(self.call(function, tuple(args)))

    def do_build(self):
        self.stack.pop()  # attributes of an object that was not made or of a plain container
        if isinstance(self.stack[-1], Global):
            raise Refused(f"a change of {self.stack[-1].name}")


def dotted(module: str, name: str) -> str:
    """("__builtin__", "set") -> "builtins.set": modules by their names in Python 3."""
    return f"{'builtins' if module == '__builtin__' else module}.{name}"


def as_dict(pairs) -> dict[Any, Any]:
    """Pairs as a dict; a key that is not a plain value becomes a new object.

    Such keys name nothing in a state dict, and hashing nested tuples can take forever.
    """
    plain = (str, bytes, int, float, Global, type(None))
    return {key if isinstance(key, plain) else Inert("key"): value for key, value in pairs}
