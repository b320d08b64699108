"""A pod's volumes as directories on this machine.

Files from ConfigMaps, Secrets and the downward API are published as the kubelet does it: they live in a directory
`..TIME`, `..data` is a symbolic link to it that is replaced by rename, and each visible name is a link through
`..data`. A reader sees all of the old or all of the new, and applications that watch `..data` work.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from seatrial.control.sandbox import VolumeFile
from seatrial.control.volumes import provisioner
from seatrial.kube.objects import PersistentVolume
from seatrial.kube.objects.volumes import HostPathVolumeSource, Volume
from seatrial.node.linux import mounts


class VolumeError(Exception):
    """A volume cannot be set up; the message is the kubelet's where it has one."""


def publish(directory: Path, files: Mapping[str, VolumeFile], group: int | None = None) -> bool:
    """Make `directory` show exactly `files`; False if it did already. `group` is the pod's fsGroup."""
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "..data"
    extra = 0o440 if group is not None else 0
    wanted = {name: (file.content, file.mode | extra) for name, file in files.items()}
    if data.is_symlink() and _shown(data.resolve()) == wanted:
        return False
    before = data.readlink() if data.is_symlink() else None
    fresh = directory / datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.%f")
    fresh.mkdir(mode=0o755)
    for name, file in files.items():
        parts = Path(name).parts
        if not parts or ".." in parts or Path(name).is_absolute() or name.startswith(".."):
            raise VolumeError(f'invalid path "{name}": must be relative and without ".."')
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode | extra)
        if group is not None or file.owner is not None:
            os.chown(path, file.owner or 0, group or 0)
    link = directory / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    heads = {Path(name).parts[0] for name in files}
    for head in heads:
        visible = directory / head
        if not visible.is_symlink():
            visible.symlink_to(f"..data/{head}")
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in heads:
            entry.unlink()
    if before is not None:
        shutil.rmtree(directory / before, ignore_errors=True)
    return True


def _shown(directory: Path) -> dict[str, tuple[bytes, int]]:
    found = {}
    for root, _, names in os.walk(directory):
        for name in names:
            path = Path(root, name)
            found[str(path.relative_to(directory))] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


def set_up(volume: Volume, directory: Path, group: int | None) -> Path:
    """The directory of an emptyDir or hostPath volume. Raises `VolumeError`."""
    if volume.host_path is not None:
        return host_path(volume.host_path)
    if volume.empty_dir is None:
        kinds = [name for name in volume.__struct_fields__ if name != "name" and getattr(volume, name) is not None]
        raise VolumeError(f'volume "{volume.name}": {", ".join(kinds) or "no source"} is not supported on this cluster')
    directory.mkdir(parents=True, exist_ok=True)
    if volume.empty_dir.medium == "Memory" and not os.path.ismount(directory):
        limit = volume.empty_dir.size_limit
        mounts.mount("tmpfs", directory, "tmpfs", 0, f"size={limit.value}" if limit is not None else "")
    if group is not None:
        os.chown(directory, 0, group)
        directory.chmod(0o2777)
    else:
        directory.chmod(0o777)
    return directory


def persistent(volume: PersistentVolume, group: int | None, policy: str | None = None) -> Path:
    """The directory of a bound PersistentVolume; one of our own provisioner's is made. Raises `VolumeError`.

    `policy` is the pod's fsGroupChangePolicy: with OnRootMismatch only a directory that does not look right is walked.
    """
    if volume.spec.host_path is not None:
        return host_path(volume.spec.host_path)
    if volume.spec.local is None:
        raise VolumeError(
            f'PersistentVolume "{volume.metadata.name}": only hostPath and local volumes are supported on this cluster'
        )
    path = Path(volume.spec.local.path)
    if provisioner.is_ours(volume) and not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o777)
    if not path.exists():
        raise VolumeError(f'path "{path}" does not exist')
    if group is not None and not (policy == "OnRootMismatch" and _is_of_group(path, group)):
        _give_to_group(path, group)
    return path


def _is_of_group(top: Path, group: int) -> bool:
    known = top.stat()
    wanted = 0o2770 if top.is_dir() else 0o660
    return known.st_gid == group and stat.S_IMODE(known.st_mode) & wanted == wanted


def _give_to_group(top: Path, group: int) -> None:
    """What the kubelet does to a volume that it manages: the group reads and writes, and owns what is made there."""
    for root, directories, files in os.walk(top):
        for path in (Path(root), *(Path(root, name) for name in files)):
            if path.is_symlink():
                continue
            os.chown(path, -1, group)
            path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o2770 if path.is_dir() else 0o660))
        directories[:] = [name for name in directories if not Path(root, name).is_symlink()]


def host_path(source: HostPathVolumeSource) -> Path:
    """The path itself, made or checked as its type says."""
    path = Path(source.path)
    wrong = f"hostPath type check failed: {path} is not a"
    match source.type:
        case "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        case "FileOrCreate":
            if not path.exists():
                path.touch(mode=0o644)
        case "Directory":
            if not path.is_dir():
                raise VolumeError(f"{wrong} directory")
        case "File":
            if not path.is_file():
                raise VolumeError(f"{wrong} file")
        case "Socket":
            if not path.is_socket():
                raise VolumeError(f"{wrong} socket file")
        case "CharDevice":
            if not path.is_char_device():
                raise VolumeError(f"{wrong} character device")
        case "BlockDevice":
            if not path.is_block_device():
                raise VolumeError(f"{wrong} block device")
        case _:
            if not path.exists():
                path.mkdir(parents=True)
    return path
