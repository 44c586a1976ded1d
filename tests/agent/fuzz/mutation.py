"""Damaged and made-up inputs, the same ones for the same seed."""

from __future__ import annotations

import random
from typing import Any, Callable, Dict, List, Sequence

LONGEST = 1 << 16
_KEPT = 600
TOKENS: Sequence[bytes] = (
    b"nan", b"inf", b"-inf", b"1e999", b"-", b"+", b".", b",", b":", b"=", b"|", b"/", b"%", b"\\", b"'", b'"', b"{", b"}", b"[", b"]", b"(", b")", b"<", b">", b"9" * 40, b"0x", b"-1",
    b"4294967295", b"18446744073709551616", b"99999999999999999999", b"\x00", b"\r", b"\n", b"\r\n", b"\t", b"\x1b[31m", b"\x1b]0;", b"\x07", b"\x1b", b"\xff", b"\xc3", b"\xe2\x80\xae",
    "²".encode(), "٣".encode(), "１２".encode(), "é".encode(), "迭代".encode(), b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"iteration ", b"iteration=", b"loss: ", b"lm loss: ", b"{'loss': ",
    b"step:", b"Epoch:[", b"rank", b"[rank0]: ", b"(PID:1, Device:0, RankID:", b" | ", b"....", b"True", b"None", b"null", b"it/s]", b"2025-01-01 00:00:00", b"EI0002", b"_", b"1_0", b"1,2,3")
REPEATED = (b" ", b"0", b"9", b"[", b"(", b"{", b"|", b":", b".", b"/", b"a", b"-", b"=", b"\t", b"\n", b"\x1b[", b"1/", b"a: 1 ", b"a=1,", b"] [")


class Maker:
    """Makes one input after the other from some seeds; those that the parser answers in a way of its own are used most."""

    def __init__(self, seeds: Sequence[bytes], seed: str, answer: Callable[[bytes], Any]) -> None:
        self._all = list(seeds)
        self._rng = random.Random(seed)
        self._shapes: Dict[str, int] = {}
        self.telling: List[bytes] = []
        """One input or some of each kind of answer, in the order they came."""
        for data in self._all:
            self.learn(data, answer(data))

    def learn(self, data: bytes, answer: Any) -> None:
        """Keep an input whose answer is of a shape that few others had."""
        shape = _shape(answer)
        seen = self._shapes[shape] = self._shapes.get(shape, 0) + 1
        if seen <= 4 and len(data) < 4096 and len(self.telling) < _KEPT:
            self.telling.append(data)

    @property
    def _seeds(self) -> List[bytes]:
        return self.telling if self.telling and self._rng.random() < 0.85 else self._all

    def next(self) -> bytes:
        """The next input, up to LONGEST bytes; most have less than a thousand."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.04:
            data = bytes(rng.randrange(256) for _ in range(rng.randrange(120)))
        elif kind < 0.12:
            data = b"".join(rng.choice(TOKENS) for _ in range(rng.randrange(40)))
        elif kind < 0.2:
            data = self._half(True) + self._half(False)
        elif kind < 0.26:
            data = rng.choice((b"\n", b"\r", b"", b" ", b"\r\n")).join(rng.choice(self._seeds) for _ in range(rng.randrange(1, 5)))
        else:
            data = rng.choice(self._seeds)
        for _ in range(rng.randrange(1, 6) if kind > 0.04 else 0):
            data = self._changed(data)
        return data[:LONGEST]

    def _half(self, first: bool) -> bytes:
        data = self._rng.choice(self._seeds)
        place = self._rng.randrange(len(data) + 1)
        return data[:place] if first else data[place:]

    def _changed(self, data: bytes) -> bytes:
        rng = self._rng
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + rng.choice((1, 1, 2, 4, 8, 30, 200)))
        how = rng.randrange(10)
        if how == 0:
            return data[:place] + bytes([rng.randrange(256)]) + data[place + 1:]
        if how == 1:
            return data[:place] + data[end:]
        if how == 2:
            return data[:place]
        if how == 3:
            return data[:place] + data[place:end] * rng.choice((2, 3, 10, 100) if rng.random() < 0.9 else (1000,)) + data[end:]
        if how in (4, 5):
            return data[:place] + rng.choice(TOKENS) + data[place if how == 4 else end:]
        if how == 6:
            return data[:place] + rng.choice(REPEATED) * rng.choice((1, 5, 40, 400) if rng.random() < 0.95 else (20000,)) + data[place:]
        if how == 7:
            return self._other_number(data)
        if how == 8:
            lines = data.split(b"\n")
            rng.shuffle(lines)
            return b"\n".join(lines)
        return data.swapcase() if rng.random() < 0.2 else data[:place] + data[place:end].swapcase() + data[end:]

    def _other_number(self, data: bytes) -> bytes:
        places: List[int] = [place for place, byte in enumerate(data[:4000]) if 48 <= byte < 58]
        if not places:
            return data
        place = self._rng.choice(places)
        end = place
        while end < len(data) and 48 <= data[end] < 58:
            end += 1
        return data[:place] + self._rng.choice((b"", b"0", b"-1", b"00", b"9" * 19, b"9" * 400, b"9" * 5000, b"1e400", b"nan", "²".encode())) + data[end:]


def _shape(answer: Any, depth: int = 3) -> str:
    """What kinds of values an answer is made of: numbers and texts of any value look alike."""
    if isinstance(answer, dict) and depth:
        return "{%s}" % ",".join("%.30s:%s" % (name, _shape(value, depth - 1)) for name, value in sorted(answer.items(), key=lambda one: str(one[0]))[:40])
    if isinstance(answer, (list, tuple)) and depth:
        return "[%s]" % ",".join(sorted({_shape(value, depth - 1) for value in answer[:20]}))
    return type(answer).__name__ if answer or answer is None else "no " + type(answer).__name__
