"""A directory of static pods' manifests, read again whenever one of its files changes.

Rules, the kubelet's: one pod a file, in YAML or JSON; what begins with a dot and directories are left alone; a file
that is no static pod is reported and the others run. Changes are found by looking at the files' times and sizes once a
second, which costs a system call a file.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from seatrial.control.lifecycle import static
from seatrial.kube import schemas
from seatrial.kube.objects import Pod
from seatrial.node.runtime import Clock, Timer
from seatrial.project import documents

logger = logging.getLogger(__name__)

LONGEST: Final = 10 * 1 << 20
INTERVAL: Final = timedelta(seconds=1)


def files(directory: Path) -> list[Path]:
    """The manifests in a directory; none if it is not there."""
    try:
        found = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
    return [path for path in found if path.is_file()]


def load(path: Path) -> Any:
    """What the first document of a file says. Raises `static.ManifestError`."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise static.ManifestError(f"longer than {LONGEST} bytes")
        document = next(documents.parse(data.decode()), None)
    except (OSError, UnicodeDecodeError) as error:
        raise static.ManifestError(f"cannot be read: {error}") from error
    except documents.DocumentError as error:
        raise static.ManifestError(f"line {error.line}: {error}") from error
    return document.value if document is not None else None


class ManifestDirectory:
    """Follows `path` for a node. `want` is told the pods of all good files; `report` each bad file and why, once."""

    def __init__(
        self,
        path: Path,
        node: str,
        clock: Clock,
        *,
        want: Callable[[Sequence[Pod]], None],
        report: Callable[[str], None],
        version: str = schemas.NEWEST,
    ) -> None:
        self._path = path
        self._node = node
        self._clock = clock
        self._want = want
        self._report = report
        self._version = version
        self._seen: dict[Path, tuple[int, ...]] | None = None
        self._pods: dict[Path, Pod] = {}
        self._timer: Timer | None = None

    def start(self) -> None:
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._clock.call_at(self._clock.now() + INTERVAL, self._look)
        found = self._files()
        if found == self._seen:
            return
        before, self._seen = self._seen or {}, found
        pods: dict[Path, Pod] = {}
        for path, state in found.items():
            if before.get(path) == state:
                if path in self._pods:
                    pods[path] = self._pods[path]
                continue
            try:
                pods[path] = static.read(load(path), source=str(path), node=self._node, version=self._version)
            except static.ManifestError as error:
                logger.warning("static pod %s: %s", path, error)
                self._report(f"Error validating manifest {path}: {error}, ignoring")
        self._pods = pods
        self._want(tuple(pods.values()))

    def _files(self) -> dict[Path, tuple[int, ...]]:
        found: dict[Path, tuple[int, ...]] = {}
        for path in files(self._path):
            with contextlib.suppress(OSError):  # gone meanwhile
                stat = path.stat()
                found[path] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        return found
