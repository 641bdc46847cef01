"""The override file, as it is watched: looked at by its modification time, read again when that has changed.

Takes no lock: a writer puts the whole file in place at once. What stands in it is release_writer.py's to read.
"""

from __future__ import annotations

import os
from pathlib import Path

from otel_agent.prompts import Override
from otel_agent.stop import InvalidSetting
from otel_agent.stores.release_writer import ReleaseFiles

__all__ = ["OverrideFile"]

_Signature = tuple[int, ...] | str
_ABSENT = "absent"


class OverrideFile:
    """One override file that is watched.

    Args:
        path: the file; it need not be there, its folder must.
    """

    __slots__ = ("_files", "_seen", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = ReleaseFiles(path)
        self._seen: _Signature | None = None

    def changed(self) -> bool:
        """Tells whether the file is another one than at the last `read`."""
        return self._signature() != self._seen

    def read(self) -> Override:
        """Reads the file, and takes note of which one it is; one that is not there overrides nothing.

        Raises:
            InvalidSetting: it is broken, or its folder is away.
        """
        self._seen = self._signature()  # before the text: a file that is replaced in between is read once more
        if self._seen == _ABSENT and not self.path.parent.is_dir():
            raise InvalidSetting(field=str(self.path), value="its folder is away", allowed="in a folder that is there")
        return self._files.read()

    def _signature(self) -> _Signature:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return _ABSENT
        except OSError as failed:
            return type(failed).__name__
        return found.st_mtime_ns, found.st_size, found.st_ino
