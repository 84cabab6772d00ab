"""Read the instructions of a pickle without following them: limits, names, present-day spelling.

torch.load(weights_only=True) knows the instructions of pickle's protocol 2 as Python 3 writes it.
Files by Python 2, and those saved with another `pickle_protocol`, hold others, for the same
values; they are rewritten. On the way it is counted how deep objects nest and how large they are
when shared ones are counted each time, so that a file beyond the limits is refused unread.
"""

import pickletools
import re
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from dataclasses import dataclass
from pickle import encode_long
from typing import Any, BinaryIO

from benchmarks.checkpoints.pickled.objects import Object, Refused, check_limits
from benchmarks.checkpoints.pickled.stand_ins import is_stood_in_for

MOST_INSTRUCTIONS = 5_000_000  # far more than any training framework writes

_NAME = re.compile(r"[\w.]+ [\w.]+", re.ASCII)  # module and name in it
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE"}
_TEXTS |= {"SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_INTEGERS = {"INT", "LONG", "LONG1", "LONG4"}
_CONSTANTS = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT", "FLOAT"}
_EMPTY = {"EMPTY_TUPLE": b")", "EMPTY_LIST": b"]", "EMPTY_DICT": b"}", "EMPTY_SET": b"]"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORES = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_LOADS = {"GET", "BINGET", "LONG_BINGET"}


# An object on the stack, and the place where its instructions begin among those written.
_Placed = tuple[Object, int]


@dataclass
class Pickle:
    """A pickle in protocol 2, and the names that it refers to."""

    content: bytes
    names: set[str]
    lists: set[str]  # names whose objects are filled as lists are
    dictionaries: set[str]  # names whose objects are filled as dictionaries are


def read_pickle(file: BinaryIO) -> Pickle:
    """The pickle that begins at the file's position, which is left behind its end.

    `file` must give what it has when asked for more, as `io.BytesIO` does. Raises `Refused` for
    one that is malformed, beyond the limits, or written by nothing that wrote checkpoints.
    """
    reader = _Reader()
    start = file.tell()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            end = file.tell()
            file.seek(start)
            reader.follow(opcode.name, argument, file.read(end - start))
            start = end
            if count >= MOST_INSTRUCTIONS:
                raise Refused(f"its pickle has more than {MOST_INSTRUCTIONS} instructions")
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        cut = not file.read(1)
        raise Refused("it is truncated" if cut else "its pickle is damaged") from error
    check_limits(reader.handed)
    found = reader.found
    both = found.lists & found.dictionaries
    if both:
        raise Refused(f"{min(both)} is both a list and a dictionary there")
    found.content = b"".join(reader.written)
    return found


def modern_name(argument: str) -> str:
    """The full name, as Python 3 has it, of a global "module name"."""
    module, name = argument.split(" ", 1)
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


class _Reader:
    """Follows the instructions with `Object`s in the place of objects."""

    def __init__(self) -> None:
        self.found = Pickle(b"", set(), set(), set())
        self.written: list[bytes] = []
        self.stack: list[_Placed] = []
        self.marked: list[tuple[list[_Placed], int]] = []  # stacks below the marks, their places
        self.memo: dict[int, Object] = {}
        self.unwritten: dict[int, str] = {}  # strings of the memo whose instruction was taken back
        self.last_other = -1  # place of the last instruction that is not of a string
        self.handed: list[Object] = []  # what constructors are given, keys, and the whole
        self.leaf = Object()

    def follow(self, name: str, argument: Any, raw: bytes) -> None:
        """One instruction."""
        if name in _TEXTS:
            self._push(Object(text=argument))
            self.written.append(raw if name == "BINUNICODE" else _unicode(argument))
        elif name in _STORES:
            self._store(len(self.memo) if name == "MEMOIZE" else argument)
        elif name in _LOADS:
            self._load(argument)
        elif name == "STACK_GLOBAL":
            self._named_on_the_stack()
        else:
            written = self._other(name, argument, raw)
            self.last_other = len(self.written)
            self.written.append(written)

    def _other(self, name: str, argument: Any, raw: bytes) -> bytes:
        """What to write for an instruction that is neither a string's nor the memo's."""
        if name in _CONSTANTS or name in _INTEGERS or name in _BYTES:
            self._push(self.leaf)
            return _constant(name, argument) or raw
        if name in _EMPTY:
            self._push(Object())
            return _EMPTY[name]
        if name in _TUPLES:
            items, place = self._pop_several(_TUPLES[name])
            self._push(Object(items), place)
        elif name == "MARK":
            self.marked.append((self.stack, len(self.written)))
            self.stack = []
        elif name in ("TUPLE", "FROZENSET"):
            items, place = self._pop_mark()
            self._push(Object(items), place)
            return b"t"
        elif name in ("LIST", "DICT"):
            return self._old_container(name)
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            items, _ = self._pop_several(1) if name == "APPEND" else self._pop_mark()
            self._fill(items, self.found.lists)
            return b"e" if name == "ADDITEMS" else raw
        elif name in ("SETITEM", "SETITEMS"):
            items, _ = self._pop_several(2) if name == "SETITEM" else self._pop_mark()
            self.handed += items[::2]
            self._fill(items, self.found.dictionaries)
        elif name == "GLOBAL":
            self._push(self._global(argument))
        elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            return self._make(name, raw)
        elif name == "BUILD":
            _, place = self.stack.pop()
            return raw if self.stack[-1][0].made_by is None else self._swallow(place)
        elif name == "BINPERSID":
            key, place = self.stack.pop()
            self.handed.append(key)
            self._push(self.leaf, place)
        elif name == "PROTO":
            return b"\x80\x02"
        elif name == "FRAME":
            return b""
        elif name == "STOP":
            self.handed.append(self.stack.pop()[0])
        else:
            raise Refused(f"its pickle has the instruction {name}, which no torch.save writes")
        return raw

    def _push(self, thing: Object, place: int | None = None) -> None:
        self.stack.append((thing, len(self.written) if place is None else place))

    def _pop_several(self, count: int) -> tuple[list[Object], int]:
        """The last objects, and the place where the first of them begins."""
        popped = [self.stack.pop() for _ in range(count)][::-1]
        return [thing for thing, _ in popped], popped[0][1]

    def _pop_mark(self) -> tuple[list[Object], int]:
        """The objects since the last mark, and the mark's place."""
        items = [thing for thing, _ in self.stack]
        self.stack, place = self.marked.pop()
        return items, place

    def _store(self, index: int) -> None:
        self.memo[index] = self.stack[-1][0]
        self.unwritten.pop(index, None)
        self.written.append(b"r" + struct.pack("<I", index))

    def _load(self, index: int) -> None:
        found = self.memo[index]
        self._push(found)
        if index in self.unwritten:
            self.written.append(_unicode(self.unwritten[index]))
            self._store(index)
            return
        if found.text is None:
            self.last_other = len(self.written)
        self.written.append(b"j" + struct.pack("<I", index))

    def _named_on_the_stack(self) -> None:
        """A global whose module and name are strings on the stack; protocol 2 has them inline."""
        (name, _), (module, place) = self.stack.pop(), self.stack.pop()
        if name.text is None or module.text is None or self.last_other >= place:
            raise Refused("its pickle computes the name of a class, which no torch.save does")
        for instruction in self.written[place:]:
            if instruction[:1] == b"r":
                (index,) = struct.unpack("<I", instruction[1:])
                self.unwritten[index] = self.memo[index].text or ""
        del self.written[place:]
        self._push(self._global(f"{module.text} {name.text}"))
        self.last_other = len(self.written)
        self.written.append(f"c{module.text}\n{name.text}\n".encode())

    def _global(self, argument: str) -> Object:
        if not _NAME.fullmatch(argument):
            raise Refused("its pickle names a class in a way that no torch.save does")
        name = modern_name(argument)
        self.found.names.add(name)
        return Object(name=name)

    def _make(self, opcode: str, raw: bytes) -> bytes:
        """An object from what makes it and what that is given."""
        count = 2 if opcode == "NEWOBJ_EX" else 1
        arguments, place = self._pop_several(count)
        self.handed += arguments
        maker, start = self.stack.pop()
        if maker.made_by is not None and opcode == "REDUCE":  # calls what a stand-in stands for
            self._push(maker, start)
            return self._swallow(place)
        foreign = maker.name is not None and is_stood_in_for(maker.name)
        if opcode == "NEWOBJ_EX" and not foreign:
            raise Refused("its pickle has the instruction NEWOBJ_EX, which no torch.save writes")
        made = Object(made_by=maker.name) if foreign else Object(arguments)
        self._push(made, start)
        return b"\x86\x81" if opcode == "NEWOBJ_EX" else raw  # TUPLE2 of both arguments, NEWOBJ

    def _swallow(self, place: int) -> bytes:
        """Give a stand-in what begins at `place` as one attribute of a name that nobody reads.

        The attributes of the framework's object have names of their own choice, which would hide
        the methods of the dictionary that may stand for it; and they need not be a dictionary.
        """
        self.written[place] = _unicode("\0swallowed") + self.written[place]
        return b"\x86\x85b"  # TUPLE2 of name and value, TUPLE1, BUILD

    def _fill(self, items: list[Object], kind: set[str]) -> None:
        target, _ = self.stack[-1]
        if target is self.leaf or target.text is not None or target.name is not None:
            raise ValueError("no container")
        target.parts += items
        if target.made_by is not None:
            kind.add(target.made_by)

    def _old_container(self, name: str) -> bytes:
        """Protocol 0 begins a list or a dictionary by a mark, and then adds items one by one."""
        items, place = self._pop_mark()
        if items or place != len(self.written) - 1:
            raise Refused(f"its pickle has the instruction {name}, which no torch.save writes")
        self.written[place] = b""
        self._push(Object(), place)
        return b"]" if name == "LIST" else b"}"


def _unicode(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def _constant(name: str, argument: Any) -> bytes | None:
    """A number or bytes by an instruction of protocol 2; None when it is one already."""
    if name in _INTEGERS and name != "LONG1":
        if isinstance(argument, bool):
            return b"\x88" if argument else b"\x89"  # NEWTRUE, NEWFALSE
        digits: bytes = encode_long(argument)
        if len(digits) > 255:
            raise Refused("its pickle holds an integer of more than 255 bytes")
        return b"\x8a" + bytes([len(digits)]) + digits  # LONG1
    if name == "FLOAT":
        return b"G" + struct.pack(">d", argument)  # BINFLOAT
    if name in _BYTES:  # as protocol 2 has them: the encoding of a text
        encoded = b"c_codecs\nencode\n" + _unicode(argument.decode("latin-1"))
        encoded += _unicode("latin1") + b"\x86R"
        return b"cbuiltins\nbytearray\n" + encoded + b"\x85R" if name == "BYTEARRAY8" else encoded
    return None
