"""Files that several processes read and write: put in place whole, or not at all, and by one writer at a time.

Readers take no lock: they see the old text or the new one. Knows nothing of what stands in a file.
"""

from __future__ import annotations

import glob
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from otel_agent.stop import InvalidSetting

__all__ = [
    "ABSENT",
    "LOCK_SECONDS",
    "Signature",
    "append_line",
    "lock_file_of",
    "locked",
    "read_text",
    "replace_text",
    "signature_of",
]

Signature = tuple[int, ...] | str
ABSENT: Signature = "absent"

LOCK_SECONDS = 10.0
_LEFT_BEHIND = ".new"


def read_text(path: Path, *, errors: str = "strict") -> str | None:
    """Gives a file's text as it stands, line ends included; None where there is no such file.

    Args:
        path: the file.
        errors: what becomes of bytes that are no UTF-8, as `bytes.decode` has it.

    Raises:
        InvalidSetting: it cannot be read, is no UTF-8, or is something else than a file, such as a pipe.
    """
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # reading a pipe would wait for a writer
            raise InvalidSetting(field=str(path), value=stat.filemode(kind), allowed="a regular file")
        return path.read_bytes().decode(errors=errors)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as wrong:
        raise InvalidSetting(field=str(path), value=f"byte {wrong.start}", allowed="UTF-8") from None
    except OSError as failed:
        raise _unusable(path, "a file that can be read", failed) from None


def signature_of(path: Path) -> Signature:
    """Gives what changes whenever a file is written or replaced; `ABSENT` where there is none.

    To be asked before the file is read: one that changes in between is then read once more.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return ABSENT
    except OSError as failed:
        return type(failed).__name__
    return found.st_mtime_ns, found.st_size, found.st_ino


def replace_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Puts a text in the place of a file: all of it or, when that fails or is interrupted, nothing of it.

    The text is on the disk before its name is. An existing file keeps its mode; a link keeps leading where it leads.

    Args:
        path: the file; its folder is there.
        text: what shall stand in it.
        mode: the mode of a new file, before the umask.

    Raises:
        InvalidSetting: the folder takes no such file.
    """
    target = path.resolve()
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_LEFT_BEHIND}")
    try:
        _write(new, text.encode(), mode, like=target)
        os.replace(new, target)
    except OSError as failed:
        raise _unusable(path, "a file that can be written", failed) from None
    finally:
        new.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _write(new: Path, content: bytes, mode: int, *, like: Path) -> None:
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    with open(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(number)
    if like.exists():
        new.chmod(stat.S_IMODE(like.stat().st_mode))


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file, behind a line end where somebody left the last line without one.

    Raises:
        InvalidSetting: the file cannot be written.
    """
    try:
        with path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write((b"\n" if torn else b"") + line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as failed:
        raise _unusable(path, "a file that can be written", failed) from None


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # it opens no folders
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems sync no folders
            os.fsync(number)
    finally:
        os.close(number)


def lock_file_of(path: Path) -> Path:
    """Gives the file whose lock a writer of another file holds; it stays there, empty."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def locked(path: Path, *, seconds: float = LOCK_SECONDS) -> Generator[None]:
    """Keeps other writers of a file out while the block runs; the system lets go when this process dies.

    Args:
        path: the file to write; its folder is there.
        seconds: how long to wait for another writer.

    Raises:
        InvalidSetting: another writer still holds it, or the folder takes no lock file.
    """
    from filelock import FileLock, Timeout  # only for writers: it belongs to an extra

    target = path.resolve()
    if not target.parent.is_dir():
        raise InvalidSetting(field=str(path), value="no such folder", allowed="in a folder that is there")
    holder = lock_file_of(target)
    lock = FileLock(holder, timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        allowed = f"free: another process has held {holder} for {seconds:g} seconds; wait for it, or end it"
        raise InvalidSetting(field=str(path), value="locked", allowed=allowed) from None
    except OSError as failed:
        raise _unusable(path, "in a folder that can be written", failed) from None
    try:
        _sweep(target)
        yield
    finally:
        lock.release()


def _sweep(target: Path) -> None:
    """Takes away what writers that were killed have left; nobody else writes while this one has the lock."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*{_LEFT_BEHIND}"):
        left.unlink(missing_ok=True)


def _unusable(path: Path, allowed: str, failed: OSError) -> InvalidSetting:
    return InvalidSetting(field=str(path), value=failed.strerror or type(failed).__name__, allowed=allowed)


def shown(path: Path) -> str:
    """Gives a path as people know it: from the working directory on, where it is below that."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
