"""Layers as tar archives: written so that equal content gives equal bytes, read as if an enemy had packed them.

Written: names sorted, owners numeric, every time set to one fixed value. BuildKit keeps the times of copied files,
so that two clones of one commit give two images; here they give one.

Read: every name is resolved inside the destination, symbolic links included, so nothing is created, linked or
changed outside of it. Whiteouts become what overlayfs expects: a character device 0,0 in place of the removed name,
and `trusted.overlay.opaque=y` on a directory that hides what is below.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from seatrial.image.errors import HostileArchive, ImageError

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_OPAQUE_XATTR = "trusted.overlay.opaque"
_PAX_XATTR = "SCHILY.xattr."
_MAX_LINKS = 40  # as the kernel's ELOOP


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a layer that is assembled rather than found: `source` is the file with the content."""

    name: str
    mode: int
    content: bytes | None = None
    source: Path | None = None
    directory: bool = False
    uid: int = 0
    gid: int = 0


def write_entries(entries: list[Entry], out: IO[bytes], *, mtime: int = 0) -> None:
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(entries, key=lambda entry: entry.name):
            info = _info(entry.name, entry.mode, entry.uid, entry.gid, mtime)
            if entry.directory:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif entry.source is not None:
                with entry.source.open("rb") as content:
                    info.size = os.fstat(content.fileno()).st_size
                    tar.addfile(info, content)
            else:
                _add_bytes(tar, info, entry.content or b"")


def write_upper(upper: Path, out: IO[bytes], *, mtime: int = 0, skip: frozenset[str] = frozenset()) -> int:
    """The upper directory of an overlay as a layer; how many entries it has. `skip` names files that stay out."""
    links: dict[tuple[int, int], str] = {}
    count = 0
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in _names(upper):
            if name in skip:
                continue
            path = upper / name
            status = path.lstat()
            kind = status.st_mode
            info = _info(name, stat.S_IMODE(kind), status.st_uid, status.st_gid, mtime)
            if stat.S_ISSOCK(kind):
                continue  # tar knows no sockets, and one without its process is of no use
            count += 1
            if stat.S_ISCHR(kind) and status.st_rdev == 0:
                parent, _, base = name.rpartition("/")
                _add_bytes(tar, _info(f"{parent}/{WHITEOUT}{base}".lstrip("/"), 0o644, 0, 0, mtime), b"")
                continue
            info.pax_headers = {
                _PAX_XATTR + attribute: os.getxattr(path, attribute, follow_symlinks=False).decode(
                    "utf-8", "surrogateescape"
                )
                for attribute in _xattrs(path)
            }
            if stat.S_ISDIR(kind):
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
                if is_opaque(path):
                    _add_bytes(tar, _info(f"{name}/{OPAQUE}", 0o644, 0, 0, mtime), b"")
            elif status.st_nlink > 1 and (status.st_dev, status.st_ino) in links:
                info.type, info.linkname = tarfile.LNKTYPE, links[status.st_dev, status.st_ino]
                tar.addfile(info)
            elif stat.S_ISREG(kind):
                links[status.st_dev, status.st_ino] = name
                with path.open("rb") as content:
                    info.size = status.st_size
                    tar.addfile(info, content)
            elif stat.S_ISLNK(kind):
                info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
                tar.addfile(info)
            elif stat.S_ISFIFO(kind):
                info.type = tarfile.FIFOTYPE
                tar.addfile(info)
            else:
                info.type = tarfile.CHRTYPE if stat.S_ISCHR(kind) else tarfile.BLKTYPE
                info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
                tar.addfile(info)
    return count


def _names(root: Path, below: str = "") -> Iterator[str]:
    for entry in sorted(os.scandir(root / below), key=lambda entry: entry.name):
        name = f"{below}/{entry.name}" if below else entry.name
        yield name
        if entry.is_dir(follow_symlinks=False):
            yield from _names(root, name)


def _info(name: str, mode: int, uid: int, gid: int, mtime: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.mtime = mode, uid, gid, mtime
    return info


def _add_bytes(tar: tarfile.TarFile, info: tarfile.TarInfo, content: bytes) -> None:
    import io

    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _xattrs(path: Path) -> list[str]:
    names = os.listxattr(path, follow_symlinks=False)
    return sorted(name for name in names if name == "security.capability" or name.startswith("user."))


def is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, _OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def resolve_in(root: Path, path: str, *, follow_last: bool = True) -> Path:
    """`path` as a process whose root is `root` would see it: links and `..` never leave `root`.

    Names that do not exist yet are kept as they are.
    """
    rest = [part for part in path.split("/") if part not in ("", ".")]
    done: list[str] = []
    followed = 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            del done[-1:]
            continue
        here = root.joinpath(*done, part)
        if (rest or follow_last) and here.is_symlink():
            followed += 1
            if followed > _MAX_LINKS:
                raise HostileArchive(f"{path!r} goes through too many symbolic links")
            target = str(here.readlink())
            if target.startswith("/"):
                done = []
            rest = [word for word in target.split("/") if word not in ("", ".")] + rest
            continue
        done.append(part)
    return root.joinpath(*done)


def unpack(stream: IO[bytes], destination: Path, *, on_progress: Callable[[int], None] | None = None) -> None:
    """Unpack a layer, compressed or not, into an empty directory. Raises `HostileArchive`; as root keeps owners."""
    _Unpacking(destination).everything(stream, on_progress)


class _Unpacking:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.is_root = os.geteuid() == 0
        self.directories: dict[Path, tarfile.TarInfo] = {}
        self.removed: set[Path] = set()

    def everything(self, stream: IO[bytes], on_progress: Callable[[int], None] | None) -> None:
        try:
            with tarfile.open(fileobj=stream, mode="r|*") as tar:
                for count, member in enumerate(tar):
                    self.one(tar, member)
                    if on_progress is not None and count % 500 == 0:
                        on_progress(count)
        except tarfile.TarError as error:
            raise ImageError(
                f"this is not a tar archive that can be read: {error}",
                hint="plain, gzip, bzip2 and xz archives are read; unpack zstd first: zstd -d FILE",
            ) from error
        except (OSError, ValueError, OverflowError, EOFError) as error:  # full disks, and fields that make no sense
            raise ImageError(
                f"the archive cannot be unpacked: {error}", hint="is the disk full, the archive damaged?"
            ) from error
        # Last, deepest first: unpacking into a directory changes its times, and its mode may forbid writing.
        for path, member in sorted(self.directories.items(), reverse=True):
            if path.is_dir() and not path.is_symlink():
                self._attributes(path, member)

    def one(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if ".." in parts or "\0" in member.name:
            raise HostileArchive(
                f"the archive has an entry named {member.name!r}, which leads outside of it",
                hint="this archive was not made by an image builder; do not trust where it came from",
            )
        if not parts:
            if member.isdir():
                self._attributes(self.root, member)
            return
        base = parts.pop()
        parent = self._parent("/".join(parts), member)
        if base.startswith(WHITEOUT):
            self._whiteout(parent, base, member)
            return
        path = parent / base
        hides_lower = path in self.removed
        self._make_way(path, for_directory=member.isdir())
        if member.isdir():
            if not path.is_dir():
                path.mkdir()
            if hides_lower:
                self._opaque(path)
            self.directories[path] = member
            return
        if member.isreg():
            content = tar.extractfile(member)
            assert content is not None
            with path.open("xb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
        elif member.issym():
            path.symlink_to(member.linkname)
        elif member.islnk():
            self._hard_link(path, member)
            return
        elif member.isfifo():
            os.mkfifo(path)
        elif member.ischr() or member.isblk():
            if not self.is_root:
                raise ImageError(f"the device {member.name!r} can only be created by root", hint="run this with sudo")
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
        else:
            raise HostileArchive(f"the archive entry {member.name!r} is of a kind that layers do not have")
        self._attributes(path, member)

    def _parent(self, name: str, member: tarfile.TarInfo) -> Path:
        parent = resolve_in(self.root, name)
        here = self.root
        for part in parent.relative_to(self.root).parts:
            here = here / part
            if not here.is_dir():
                if here.exists() or here.is_symlink():
                    if here not in self.removed:
                        raise HostileArchive(f"{member.name!r} lies below {part!r}, which is not a directory")
                    here.unlink()
                here.mkdir(mode=0o755)
                if here in self.removed:
                    self._opaque(here)
        return parent

    def _make_way(self, path: Path, *, for_directory: bool) -> None:
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        elif path.is_dir() and not for_directory:
            shutil.rmtree(path)

    def _hard_link(self, path: Path, member: tarfile.TarInfo) -> None:
        if ".." in member.linkname.split("/"):
            raise HostileArchive(f"{member.name!r} is a hard link that leads outside of the archive")
        target = resolve_in(self.root, member.linkname, follow_last=False)
        if not os.path.lexists(target) or target.is_dir():
            raise HostileArchive(f"{member.name!r} is a hard link to {member.linkname!r}, which is not in the archive")
        os.link(target, path, follow_symlinks=False)

    def _whiteout(self, parent: Path, base: str, member: tarfile.TarInfo) -> None:
        if base == OPAQUE:
            self._opaque(parent)
            return
        name = base.removeprefix(WHITEOUT)
        if name in ("", ".", "..") or name.startswith(WHITEOUT):
            raise HostileArchive(f"{member.name!r} is not a valid whiteout")
        path = parent / name
        self.removed.add(path)
        if path.is_dir() and not path.is_symlink():
            self._opaque(path)
        elif not os.path.lexists(path):
            if not self.is_root:
                raise ImageError("a layer that removes files can only be unpacked by root", hint="run this with sudo")
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))

    def _opaque(self, path: Path) -> None:
        try:
            os.setxattr(path, _OPAQUE_XATTR, b"y", follow_symlinks=False)
        except OSError as error:
            raise ImageError(
                f"the directory {path} cannot be marked as opaque: {error.strerror}",
                hint="this needs root and a file system with trusted extended attributes (ext4, xfs)",
            ) from error

    def _attributes(self, path: Path, member: tarfile.TarInfo) -> None:
        if self.is_root:
            os.chown(path, member.uid, member.gid, follow_symlinks=False)
        if not member.issym():
            path.chmod(member.mode & 0o7777)
        for header, value in member.pax_headers.items():
            name = header.removeprefix(_PAX_XATTR)
            if name == "security.capability" and self.is_root:
                os.setxattr(path, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
