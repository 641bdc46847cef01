"""The override file, as it is watched: looked at by its modification time, read again when that has changed.

Takes no lock: a writer puts the whole file in place at once. What stands in it is release_writer.py's to read.
"""

from __future__ import annotations

from pathlib import Path

from otel_agent.prompts import Override
from otel_agent.stop import InvalidSetting
from otel_agent.stores.files import ABSENT, Signature, signature_of
from otel_agent.stores.release_writer import ReleaseFiles

__all__ = ["OverrideFile"]


class OverrideFile:
    """One override file that is watched; who reads it keeps which one it was.

    Args:
        path: the file; it need not be there, its folder must.
    """

    __slots__ = ("_files", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = ReleaseFiles(path)

    def signature(self) -> Signature:
        """Gives what changes whenever the file is replaced, to be asked before `read`; `ABSENT` where there is none."""
        return signature_of(self.path)

    def read(self) -> Override:
        """Reads the file; one that is not there overrides nothing.

        Raises:
            InvalidSetting: it is broken, or its folder is away.
        """
        if self.signature() == ABSENT and not self.path.parent.is_dir():
            raise InvalidSetting(field=str(self.path), value="its folder is away", allowed="in a folder that is there")
        return self._files.read()
