"""A folder for a process to write in: made, measured and removed, whatever it puts there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

MOST_BYTES, MOST_FILES = 1 << 30, 2_000
"""What may be in it at a time."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Scratch:
    """A new folder, held open, so that it is found again wherever it is moved."""

    def __init__(self, place: str) -> None:
        """Make it in the folder `place`; raise OSError."""
        self._token = os.urandom(8).hex()
        self.path = os.path.join(place, f"cnncli-{self._token}")
        os.mkdir(self.path, 0o700)
        self._root = os.open(self.path, _FOLDER)

    def close(self) -> None:
        """Let go of it, in a process that does not remove it."""
        os.close(self._root)

    def is_full(self) -> bool:
        """Tell whether more is in it than may be; what cannot be looked into does not count."""
        size = count = 0
        folders = ["."]
        while folders:
            path = folders.pop()
            with (
                contextlib.suppress(OSError),
                _opened(path, self._root) as folder,
                os.scandir(folder) as entries,
            ):
                for entry in entries:
                    count += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if size > MOST_BYTES or count > MOST_FILES:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{path}/{entry.name}")
        return False

    def remove(self) -> None:
        """Remove it with all that is in it, once nothing writes to it any more.

        A folder within moves up before it is emptied, so that at any depth nothing recurses and no
        path grows; modes and names do not matter. What the system will not remove stays.
        """
        left = self._empty(self._root, 0)
        for number, name in enumerate(left):  # which grows as folders are found
            with contextlib.suppress(OSError):
                with _opened(name, self._root) as folder:
                    left += self._empty(folder, number + 1)
                os.rmdir(name, dir_fd=self._root)
        os.close(self._root)
        with contextlib.suppress(OSError):
            os.rmdir(self.path)

    def _empty(self, folder: int, number: int) -> list[str]:
        """Remove a folder's files and move its folders up; return their new names."""
        moved: list[str] = []
        with contextlib.suppress(OSError):
            os.fchmod(folder, 0o700)
        with os.scandir(folder) as entries:
            found = list(entries)
        for entry in found:
            with contextlib.suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=folder)
                    continue
                # Its own mode says whether it may be moved and looked into.
                os.chmod(entry.name, 0o700, dir_fd=folder)
                name = f"{self._token}-{number}-{len(moved)}"
                os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=self._root)
                moved.append(name)
        return moved


@contextlib.contextmanager
def _opened(path: str, within: int) -> Iterator[int]:
    folder = os.open(path, _FOLDER, dir_fd=within)
    try:
        yield folder
    finally:
        os.close(folder)
