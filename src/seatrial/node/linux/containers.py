"""Starting, entering and ending one container: conmon and runc, told apart from what pods are.

conmon starts `runc create`, keeps the log and writes the exit code to a file; it outlives us. What it has to say about
the start comes through a pipe (`_OCI_SYNCPIPE`) as one JSON line.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seatrial.node.linux.machine import Machine
from seatrial.node.linux.process import CommandError, attempt, run

IN_MOVED_TO = 0x80
IN_CLOSE_WRITE = 0x8


def program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/libexec/podman")
    return found or name


class Runc:
    """The containers of one cluster."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._runc = (program("runc"), "--root", str(machine.runc_root))

    async def start(self, container_id: str, bundle: Path, log: Path) -> int:
        """Create and start what `bundle` describes; its process id. Raises `CommandError`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        for directory in (self._machine.exits, self._machine.runc_root):
            directory.mkdir(parents=True, exist_ok=True)
        reading, writing = os.pipe()
        command = (
            program("conmon"),
            *("-c", container_id, "-u", container_id, "-n", container_id, "-r", self._runc[0]),
            *("-b", str(bundle), "-p", str(bundle / "pid"), "-P", str(bundle / "conmon.pid")),
            *("-l", f"k8s-file:{log}", "--exit-dir", str(self._machine.exits), "--persist-dir", str(bundle)),
            *("--socket-dir-path", str(bundle), "--full-attach", "--no-new-keyring"),
            f"--runtime-arg=--root={self._machine.runc_root}",
            *(("-t",) if json.loads((bundle / "config.json").read_text())["process"]["terminal"] else ()),
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(writing,),
                env={**os.environ, "_OCI_SYNCPIPE": str(writing)},
                start_new_session=True,
                cwd=bundle,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        said = await asyncio.to_thread(_read_line, reading)
        await process.wait()
        report: dict[str, Any] = json.loads(said or b'{"pid": -1, "message": "conmon ended without a report"}')
        pid = int(report.get("pid", report.get("data", -1)))
        if pid <= 0:
            raise CommandError(command, 1, str(report.get("message", "")))
        await run((*self._runc, "start", container_id))
        return pid

    async def execute(self, container_id: str, command: Sequence[str], timeout_s: float) -> tuple[int, bytes]:
        """Run `command` in the container. Raises `TimeoutError`, after ending it."""
        pid_file = self._machine.run / f"exec-{container_id[:12]}-{os.urandom(4).hex()}.pid"
        try:
            done = await attempt(
                (*self._runc, "exec", "--pid-file", str(pid_file), container_id, *command), timeout_s=timeout_s
            )
        except TimeoutError:
            if pid_file.exists():
                _kill(int(pid_file.read_text()))
            raise
        finally:
            pid_file.unlink(missing_ok=True)
        return done.code, done.output

    async def kill(self, container_id: str, signal_name: str) -> None:
        """Send a signal to the container's first process; a container that has ended is left alone."""
        everyone = ("--all",) if signal_name == "SIGKILL" else ()
        await attempt((*self._runc, "kill", *everyone, container_id, signal_name))

    async def update(self, container_id: str, resources: dict[str, dict[str, int]]) -> None:
        """Change the cgroup of a running container. Raises `CommandError`."""
        await run((*self._runc, "update", "--resources", "-", container_id), given=json.dumps(resources))

    async def delete(self, container_id: str) -> None:
        await attempt((*self._runc, "delete", "--force", container_id))


def _read_line(descriptor: int) -> bytes:
    """Up to the first line or the end; conmon keeps its end open for as long as it lives."""
    with os.fdopen(descriptor, "rb") as stream:
        return stream.readline()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)


def reopen_log(bundle: Path) -> None:
    """Tell conmon that its log was moved: message 2 on its control pipe."""
    try:
        descriptor = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        os.write(descriptor, b"2 0 0\n")
    finally:
        os.close(descriptor)


class Watcher:
    """Calls `on_file(name)` for each file that is put into `directory` (inotify)."""

    def __init__(self, directory: Path, on_file: Callable[[str], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        directory.mkdir(parents=True, exist_ok=True)
        self._descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1: see fs.inotify.max_user_instances")
        if libc.inotify_add_watch(self._descriptor, os.fsencode(directory), IN_MOVED_TO | IN_CLOSE_WRITE) < 0:
            raise OSError(ctypes.get_errno(), f"inotify_add_watch {directory}")
        self._on_file = on_file
        asyncio.get_running_loop().add_reader(self._descriptor, self._ready)

    def _ready(self) -> None:
        data = os.read(self._descriptor, 65536)
        at = 0
        while at < len(data):
            size = struct.unpack_from("iIII", data, at)[3]
            name = data[at + 16 : at + 16 + size].rstrip(b"\0").decode()
            at += 16 + size
            self._on_file(name)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
