"""Conversations laid one after another until a sequence is full. Order is kept: the same input, the same packs.

A packed sequence is three lists of one length: ``input_ids``; ``labels``, which are the ids again where they
carry loss and IGNORED elsewhere (label n is of token n; who trains shifts them); ``attention_mask``, the number
of the conversation within the pack, from 1, so that a token knows whom it may look at. To readers that take the
mask for 0 and 1 it says that every token counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

IGNORED = -100
"""The label of a token without loss, as in PyTorch's cross entropy."""

Encoded = tuple[list[int], list[int]]
"""input_ids and labels of one conversation."""


@dataclass(slots=True)
class Pack:
    """A sequence that fills up."""

    input_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    attention_mask: list[int] = field(default_factory=list)
    held: int = 0

    def add(self, encoded: Encoded) -> None:
        self.held += 1
        self.input_ids += encoded[0]
        self.labels += encoded[1]
        self.attention_mask += [self.held] * len(encoded[0])


class Packer:
    """Takes conversations of at most ``seq_length`` tokens, gives packs of at most that."""

    def __init__(self, seq_length: int) -> None:
        self._length, self._open = seq_length, Pack()

    def add(self, encoded: Encoded) -> Iterator[Pack]:
        """The pack that this conversation does not fit into any more, if so."""
        if self._open.held and len(self._open.input_ids) + len(encoded[0]) > self._length:
            yield self._open
            self._open = Pack()
        self._open.add(encoded)

    def rest(self) -> Iterator[Pack]:
        """The last pack, unless it is empty."""
        if self._open.held:
            yield self._open
            self._open = Pack()
