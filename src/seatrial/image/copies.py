"""COPY and ADD: which files are meant, what they hold, and how they come into a root file system.

Choosing and copying are two steps, because the digest of what was chosen decides whether a copy is needed at all.
Names never lead out of either side: symbolic links are followed as a process rooted there would.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from seatrial.image import tars
from seatrial.image.ignore import Ignore, component


@dataclass(frozen=True, slots=True)
class Source:
    """One match of a source argument: a file, or a directory whose contents are meant."""

    root: Path
    name: str
    ignore: Ignore

    @property
    def path(self) -> Path:
        return self.root / self.name if self.name else self.root

    def entries(self) -> Iterator[tuple[str, Path]]:
        """Everything below a directory, parents first, by the name relative to it."""
        yield from self._below("")

    def _below(self, below: str) -> Iterator[tuple[str, Path]]:
        for entry in sorted(os.scandir(self.path / below), key=lambda entry: entry.name):
            relative = f"{below}/{entry.name}" if below else entry.name
            full = f"{self.name}/{relative}" if self.name else relative
            is_directory = entry.is_dir(follow_symlinks=False)
            if is_directory and self.ignore.prunes(full):
                continue
            deeper = list(self._below(relative)) if is_directory else []
            if deeper or not self.ignore.ignores(full):
                yield relative, Path(entry.path)
            yield from deeper


@dataclass(frozen=True, slots=True)
class Copy:
    """`owner` is None where files keep theirs. `unpacks` is what ADD does with archives."""

    sources: tuple[Source, ...]
    destination: str
    owner: tuple[int, int] | None
    mode: str
    unpacks: bool = False


def choose(root: Path, arguments: Sequence[str], ignore: Ignore) -> tuple[Source, ...]:
    """Raises ValueError for an argument that names nothing; a pattern may match nothing."""
    found: list[Source] = []
    for argument in arguments:
        name = "/".join(part for part in os.path.normpath("/" + argument).split("/") if part)
        if any(mark in name for mark in "*?["):
            found += [Source(root, match, ignore) for match in _matches(root, "", name.split("/"), ignore)]
            continue
        path = tars.resolve_in(root, name)
        real = str(path.relative_to(root)) if path != root else ""
        source = Source(root, real, ignore)
        if not os.path.lexists(path):
            raise ValueError(f"{argument!r} is not there")
        if real and ignore.ignores(real) and not (path.is_dir() and next(source.entries(), None)):
            raise ValueError(f"{argument!r} is left out by .dockerignore")
        found.append(source)
    return tuple(found)


def _matches(root: Path, below: str, parts: list[str], ignore: Ignore) -> Iterator[str]:
    here = tars.resolve_in(root, below)
    if not here.is_dir():
        return
    pattern = component(parts[0])
    for name in sorted(os.listdir(here)):  # noqa: PTH208 - names are what is matched
        if pattern.fullmatch(name):
            full = f"{below}/{name}" if below else name
            if len(parts) > 1:
                yield from _matches(root, full, parts[1:], ignore)
            elif not ignore.ignores(full):
                yield full


def digest(copy: Copy) -> str:
    """What would be copied, without times: equal digests give equal files."""
    whole = hashlib.sha256(repr((copy.destination, copy.owner, copy.mode, copy.unpacks)).encode())
    for source in copy.sources:
        whole.update(repr(Path(source.name).name).encode())
        _hash(whole, "", source.path, copy)
        if source.path.is_dir():
            for name, path in source.entries():
                _hash(whole, name, path, copy)
    return whole.hexdigest()


def _hash(whole: hashlib._Hash, name: str, path: Path, copy: Copy) -> None:
    status = path.lstat()
    owner = (status.st_uid, status.st_gid) if copy.owner is None else None
    whole.update(repr((name, status.st_mode, owner, status.st_rdev)).encode())
    if stat.S_ISLNK(status.st_mode):
        whole.update(str(path.readlink()).encode())
    elif stat.S_ISREG(status.st_mode):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())


def perform(copy: Copy, root: Path) -> None:
    """Raises ValueError for what cannot be copied there."""
    target = tars.resolve_in(root, copy.destination)
    into = copy.destination.endswith("/") or target.is_dir() or len(copy.sources) > 1
    for source in copy.sources:
        path = source.path
        if path.is_dir():
            _directory(target, root, path, copy)
            for name, entry in source.entries():
                _one(entry, target / name, root, copy)
        elif copy.unpacks and _is_archive(path):
            _parents(target, root, copy)
            target.mkdir(exist_ok=True)
            with path.open("rb") as stream:
                tars.unpack(stream, target)
        else:
            _one(path, target / path.name if into else target, root, copy)


def _one(path: Path, target: Path, root: Path, copy: Copy) -> None:
    status = path.lstat()
    kind = status.st_mode
    if stat.S_ISSOCK(kind):
        return
    if stat.S_ISDIR(kind):
        _directory(target, root, path, copy)
        return
    _parents(target, root, copy)
    if target.is_dir() and not target.is_symlink():
        raise ValueError(f"the file {path.name!r} cannot replace the directory /{target.relative_to(root)}")
    if os.path.lexists(target):
        target.unlink()
    if stat.S_ISLNK(kind):
        target.symlink_to(path.readlink())
    elif stat.S_ISREG(kind):
        shutil.copyfile(path, target)
        for name in os.listxattr(path):
            if name == "security.capability" or name.startswith("user."):
                os.setxattr(target, name, os.getxattr(path, name))
    elif stat.S_ISFIFO(kind):
        os.mkfifo(target)
    else:
        os.mknod(target, kind, status.st_rdev)
    _attributes(target, status, copy)


def _directory(target: Path, root: Path, like: Path, copy: Copy) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ValueError(
            f"a directory cannot replace /{target.relative_to(root)}, which is "
            + ("a symbolic link" if target.is_symlink() else "a file")
        )
    if target.is_dir():
        return
    _parents(target, root, copy)
    target.mkdir()
    _attributes(target, like.lstat(), copy)


def _attributes(target: Path, status: os.stat_result, copy: Copy) -> None:
    uid, gid = copy.owner if copy.owner is not None else (status.st_uid, status.st_gid)
    os.chown(target, uid, gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        target.chmod(changed(status.st_mode, copy.mode))


def _parents(target: Path, root: Path, copy: Copy) -> None:
    for parent in reversed([p for p in target.parents if p != root and p.is_relative_to(root)]):
        if parent.is_dir():
            continue
        if os.path.lexists(parent):
            raise ValueError(f"/{parent.relative_to(root)} is not a directory")
        parent.mkdir(mode=0o755)
        os.chown(parent, *(copy.owner or (0, 0)))


def create(target: Path, root: Path, owner: tuple[int, int]) -> None:
    """A directory and its missing parents. Raises ValueError if a file is in the way."""
    plan = Copy((), "", owner, "")
    _parents(target / "x", root, plan)


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0 and tarfile.is_tarfile(path)


_CLAUSE = re.compile(r"([ugoa]*)([-+=])([rwxXst]*)")


def changed(mode: int, change: str) -> int:
    """The permission bits after `chmod CHANGE`: octal, or symbolic like `u=rwX,go=rX`. Raises ValueError."""
    bits = stat.S_IMODE(mode)
    if not change:
        return bits
    if change.isdigit():
        value = int(change, 8)
        if value > 0o7777:
            raise ValueError(f"{change} is more than 7777")
        return value
    for clause in change.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            raise ValueError(f"cannot read {clause!r}")
        who = "ugo" if found[1] in ("", "a") or "a" in found[1] else found[1]
        runnable = stat.S_ISDIR(mode) or bits & 0o111
        for letter in who:
            shift, special = {"u": (6, 0o4000), "g": (3, 0o2000), "o": (0, 0)}[letter]
            value = sum({"r": 4, "w": 2, "x": 1, "X": 1 if runnable else 0}.get(flag, 0) for flag in set(found[3]))
            wanted = min(value, 7) << shift | (special if "s" in found[3] else 0)
            if found[2] == "=":
                bits = bits & ~(7 << shift | special) | wanted
            else:
                bits = bits | wanted if found[2] == "+" else bits & ~wanted
        if "t" in found[3]:
            bits = bits & ~0o1000 if found[2] == "-" else bits | 0o1000
    return bits
