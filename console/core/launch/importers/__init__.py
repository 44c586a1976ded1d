"""Other people's launch descriptions as job files. Pure: texts in, job texts and findings out.

``read`` knows by the text what it is: S3's shell commands as pasted, a ``docker run`` line, an AscendFactory
command or settings file, a HyperPod config with its recipe. Several texts are taken together: every node's
command in a file of its own, the container's line beside the training command, a config and its recipe.

What a source cannot say or we cannot carry over is listed, never guessed in silence.
"""

from __future__ import annotations

from console.core.launch.importers.imported import Imported, Left, Source
from console.core.launch.importers.sniff import read

__all__ = ["Imported", "Left", "Source", "read"]
