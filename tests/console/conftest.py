"""What several tests of the command line stand on."""

from __future__ import annotations

from tests.console.nodes_in_process import nodes

__all__ = ["nodes"]
