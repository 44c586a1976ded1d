"""What a request is answered with when it is not done: four parts, as the operator will read them."""

from __future__ import annotations


class Refused(Exception):
    """What failed, where, got against expected, and the next move."""

    def __init__(self, what: str, where: str = "", got: str = "", expected: str = "", move: str = "") -> None:
        super().__init__(what)
        self.error = {"what": what, "where": where, "got": got, "expected": expected, "next": move}

    @property
    def what(self) -> str:
        """The first part."""
        return self.error["what"]
