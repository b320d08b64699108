"""Images from elsewhere and for elsewhere: OCI layouts, `docker save` archives, root file systems.

What comes in is hostile until proven otherwise. Nothing of an archive is unpacked by the names it chose: its members
are looked up and streamed into blobs of the store, whose names are the digests of what was read. Every size is
bounded by what the descriptor before it said, or by a limit here. A layer is also uncompressed once, to compare it
with the diff id that it will be unpacked under. A name is given last, so a refused archive leaves no image.

Manifests are kept byte for byte where they are OCI manifests, so that a digest stays what it was.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import posixpath
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, Protocol, TypeVar

import msgspec

from seatrial.image import tars
from seatrial.image.errors import HostileArchive, ImageError
from seatrial.image.store import INDEX, LAYER, MANIFEST, NAME_ANNOTATION, Image, Layer, Store, normalise

Form = Literal["oci", "docker"]

# Manifests are a few kB; registries refuse more than 4 MiB.
DOCUMENT_BYTES = 4 << 20
# No layer is as large as this uncompressed: the largest images for machine learning have layers of 10 GiB.
LAYER_BYTES = 32 << 30
MEMBERS = 100_000
NESTED_INDEXES = 4

_CONTAINERD_NAME = "io.containerd.image.name"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_INDEXES = {INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CHUNK = 1 << 20


class _Platform(msgspec.Struct, frozen=True):
    architecture: str = ""
    os: str = ""


class _Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    digest: str
    size: int
    media_type: str = ""
    annotations: dict[str, str] | None = None
    platform: _Platform | None = None


class _Index(msgspec.Struct, frozen=True):
    manifests: tuple[_Descriptor, ...] = ()


class _Manifest(msgspec.Struct, frozen=True, rename="camel"):
    config: _Descriptor
    layers: tuple[_Descriptor, ...]
    media_type: str = ""


class _Start(msgspec.Struct, frozen=True, rename="pascal"):
    """The fields of a configuration that are used later, so that their types are known to be right."""

    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    user: str | None = None
    working_dir: str | None = None
    exposed_ports: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None


class _Rootfs(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...] = ()


class _Config(msgspec.Struct, frozen=True):
    rootfs: _Rootfs
    config: _Start | None = None


class _Saved(msgspec.Struct, frozen=True, rename="pascal"):
    """An entry of the `manifest.json` that `docker save` writes."""

    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


class _Files(Protocol):
    """Files by name, of a directory or a tar archive."""

    def has(self, name: str) -> bool: ...

    def open(self, name: str) -> IO[bytes]: ...


_T = TypeVar("_T")


# Root file systems


def import_rootfs(store: Store, tar: BinaryIO, tag: str) -> Image:
    """A root file system as a tar archive, compressed or not, becomes an image of one layer. Reads `tar` once."""
    normalise(tag)
    with store.new_blob() as blob:
        for data in _bounded(_uncompressed(tar), LAYER_BYTES, "the root file system"):
            blob.write(data)
    if blob.size == 0:
        raise ImageError("the root file system is empty", hint="is the command that should write it failing?")
    layer = Layer(blob.digest, blob.digest, blob.size)
    store.layer_directory(layer)  # shows here rather than at the first start that it is not a tar archive
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created_by": "seatrial image import --rootfs"}],
    }
    digest = store.put_image(config, [layer])
    store.tag(tag, digest)
    return store.image(digest)


class _Again(io.RawIOBase):
    """A stream whose first bytes were already read."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start = start
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._start[: len(buffer)] or self._rest.read(len(buffer))
        self._start = self._start[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def _uncompressed(stream: BinaryIO) -> IO[bytes]:
    """Like the store's reading of layers, for a stream that cannot go back."""
    import bz2
    import gzip
    import lzma

    start = stream.read(6)
    again = io.BufferedReader(_Again(start, stream), _CHUNK)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=again)  # type: ignore[return-value]  # differs from IO in `name` only
    if start.startswith(b"BZh"):
        return bz2.BZ2File(again)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(again)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        raise ImageError("archives compressed with zstd are not supported", hint="zstd -dc FILE | seatrial image ...")
    return again


def _bounded(stream: IO[bytes], limit: int, what: str) -> Iterator[bytes]:
    size = 0
    try:
        while data := stream.read(_CHUNK):
            size += len(data)
            if size > limit:
                raise HostileArchive(f"{what} is larger than {limit} bytes, which nobody needs or its archive denies")
            yield data
    except (EOFError, OSError, ValueError) as error:
        raise ImageError(f"{what} cannot be read: {error or 'it ends too early'}", hint="fetch it again") from error
    except _decompression_errors() as error:
        raise ImageError(f"{what} is damaged: {error}", hint="fetch it again") from error


def _decompression_errors() -> tuple[type[Exception], ...]:
    import lzma
    import zlib

    return (zlib.error, lzma.LZMAError, tarfile.TarError)


# Archives


def import_archive(store: Store, path: Path, tag: str | None = None) -> tuple[str, ...]:
    """Import an OCI layout (a directory or an archive of one) or what `docker save` wrote; the names given.

    With `tag` the archive has exactly one image for this machine, which gets that name instead of its own.
    """
    if tag is not None:
        normalise(tag)
    with _opened(store, path) as files:
        if files.has("index.json"):
            found = list(_oci_images(store, files))
        elif files.has("manifest.json"):
            found = list(_docker_images(store, files))
        else:
            raise ImageError(
                f"{path} is not an archive of images: it has neither index.json nor manifest.json",
                hint="a root file system is imported with --rootfs; images come from `docker save` or skopeo copy",
            )
    if tag is not None:
        digests = {digest for _, digest in found}
        if len(digests) != 1:
            names = ", ".join(name or digest for name, digest in found)
            raise ImageError(f"{path} has {len(digests)} images: {names}", hint="leave --tag out to import all of them")
        found = [(tag, digests.pop())]
    if not found or any(not name for name, _ in found):
        raise ImageError(f"{path} does not name its images", hint="name it: --tag NAME")
    for name, digest in found:
        store.tag(name, digest)
    return tuple(normalise(name) for name, _ in found)


@contextmanager
def _opened(store: Store, path: Path) -> Iterator[_Files]:
    if path.is_dir():
        yield _Directory(path)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from error
    with file, tempfile.TemporaryDirectory(dir=_parent_of_temporary(store)) as directory:
        start = file.read(6)
        file.seek(0)
        plain: IO[bytes] = file
        if (
            start[:2] == b"\x1f\x8b"
            or start[:3] == b"BZh"
            or start == b"\xfd7zXZ\0"
            or start[:4] == b"\x28\xb5\x2f\xfd"
        ):
            plain = (Path(directory) / "archive").open("w+b")
            for data in _bounded(_uncompressed(file), LAYER_BYTES, str(path)):
                plain.write(data)
            plain.seek(0)
        with plain:
            yield _Archive(plain, path)


def _parent_of_temporary(store: Store) -> Path:
    directory = store.temporary()
    directory.rmdir()
    return directory.parent


class _Directory:
    """An OCI layout on disk. Links and anything but regular files are not followed or opened."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, name: str) -> bool:
        return (self._root / name).is_file()

    def open(self, name: str) -> IO[bytes]:
        try:
            handle = os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise ImageError(f"{self._root} lacks {name}: {error.strerror}", hint="is the copy complete?") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise HostileArchive(f"{name} in {self._root} is not a file")
        return os.fdopen(handle, "rb")


class _Archive:
    """An uncompressed tar archive; its members are only ever looked up, never written by their names."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._path = path
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - lives as long as `file`
            for count, member in enumerate(self._tar):
                if count >= MEMBERS:
                    raise HostileArchive(f"{path} has more than {MEMBERS} members, which no archive of images has")
                if member.name.startswith("/") or ".." in member.name.split("/"):
                    raise HostileArchive(
                        f"{path} has a member named {member.name!r}, which leads outside of it",
                        hint="no builder writes such archives; do not trust where it came from",
                    )
                self._members[posixpath.normpath(member.name)] = member
        except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError) as error:
            raise ImageError(f"{path} is not a tar archive that can be read: {error}") from error

    def _find(self, name: str) -> tarfile.TarInfo | None:
        member = self._members.get(posixpath.normpath(name))
        if member is not None and member.issym():  # old `docker save` writes a repeated layer as a link to the first
            at = posixpath.join(posixpath.dirname(posixpath.normpath(name)), member.linkname)
            member = self._members.get(posixpath.normpath(at))
        return member if member is not None and member.isreg() else None

    def has(self, name: str) -> bool:
        return self._find(name) is not None

    def open(self, name: str) -> IO[bytes]:
        member = self._find(name)
        content = self._tar.extractfile(member) if member is not None else None
        if content is None:
            raise ImageError(f"{self._path} lacks {name}", hint="the archive is not complete; fetch it again")
        return content


def _document(files: _Files, name: str) -> bytes:
    with files.open(name) as file:
        return b"".join(_bounded(file, DOCUMENT_BYTES, name))


def _digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _decoded(content: bytes, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ImageError(f"{what} is not what the OCI image specification describes: {error}") from error


def _oci_images(store: Store, files: _Files) -> Iterator[tuple[str, str]]:
    """Names ("" where there is none) and digests of the images for this machine."""
    index = _decoded(_document(files, "index.json"), _Index, "index.json")
    found = list(_manifests(store, files, index, name="", depth=0))
    if not found:
        raise ImageError(
            f"the archive has no image for linux/{_architecture()}", hint="fetch the image for this platform"
        )
    for name, descriptor in dict.fromkeys(found):
        yield name, _oci_image(store, files, descriptor)


class _Found(msgspec.Struct, frozen=True):
    """A descriptor without what cannot be hashed."""

    digest: str
    size: int


def _manifests(store: Store, files: _Files, index: _Index, *, name: str, depth: int) -> Iterator[tuple[str, _Found]]:
    if depth > NESTED_INDEXES:
        raise HostileArchive("the archive has indexes inside of indexes without end")
    for descriptor in index.manifests:
        annotations = descriptor.annotations or {}
        called = annotations.get(_CONTAINERD_NAME) or annotations.get(NAME_ANNOTATION) or name
        if annotations.get("vnd.docker.reference.type"):  # an attestation, which is no image
            continue
        if descriptor.media_type in _INDEXES:
            inner = _decoded(_blob_document(store, files, descriptor), _Index, f"the index {descriptor.digest}")
            yield from _manifests(store, files, inner, name=called, depth=depth + 1)
        elif descriptor.platform is None or (descriptor.platform.os, descriptor.platform.architecture) in (
            ("linux", _architecture()),
            ("", ""),
        ):
            yield called, _Found(descriptor.digest, descriptor.size)


def _blob_name(store: Store, digest: str) -> str:
    return f"blobs/sha256/{store.blob_path(digest).name}"


def _blob_document(store: Store, files: _Files, descriptor: _Descriptor | _Found) -> bytes:
    content = _document(files, _blob_name(store, descriptor.digest))
    digest = _digest_of(content)
    if digest != descriptor.digest or len(content) != descriptor.size:
        raise HostileArchive(
            f"the archive hands out {digest} ({len(content)} bytes) as {descriptor.digest} ({descriptor.size} bytes)",
            hint="it is damaged or was tampered with; fetch it again",
        )
    return content


def _oci_image(store: Store, files: _Files, descriptor: _Found) -> str:
    content = _blob_document(store, files, descriptor)
    manifest = _decoded(content, _Manifest, f"the manifest {descriptor.digest}")
    raw = _blob_document(store, files, manifest.config)
    config = _decoded(raw, _Config, f"the configuration {manifest.config.digest}")
    diff_ids = config.rootfs.diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise HostileArchive(f"an image lists {len(manifest.layers)} layers but {len(diff_ids)} diff ids")
    for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
        _copy_layer(store, files, layer, diff_id)
    if manifest.media_type == _DOCKER_MANIFEST:
        layers = [
            Layer(layer.digest, diff_id, layer.size, LAYER if layer.digest == diff_id else f"{LAYER}+gzip")
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
        ]
        return store.put_image(msgspec.json.decode(raw), layers)
    store.put(raw)
    return store.put(content)


def _copy_layer(store: Store, files: _Files, layer: _Descriptor, diff_id: str) -> None:
    if not store.has(layer.digest):
        with files.open(_blob_name(store, layer.digest)) as source, store.new_blob(layer.digest) as blob:
            for data in _bounded(source, layer.size, f"the layer {layer.digest}"):
                blob.write(data)
    if store.blob_path(layer.digest).stat().st_size != layer.size:
        raise HostileArchive(f"the layer {layer.digest} does not have the {layer.size} bytes its manifest says")
    _check_diff_id(store, layer.digest, diff_id)


def _check_diff_id(store: Store, digest: str, diff_id: str) -> None:
    if digest == diff_id:
        return
    found = hashlib.sha256()
    with store.blob_path(digest).open("rb") as blob:
        for data in _bounded(_uncompressed(blob), LAYER_BYTES, f"the layer {digest}"):
            found.update(data)
    if f"sha256:{found.hexdigest()}" != diff_id:
        raise HostileArchive(f"the layer {digest} unpacks to sha256:{found.hexdigest()}, its image says {diff_id}")


def _docker_images(store: Store, files: _Files) -> Iterator[tuple[str, str]]:
    for saved in _decoded(_document(files, "manifest.json"), tuple[_Saved, ...], "manifest.json"):
        raw = _document(files, saved.config)
        claimed = re.fullmatch(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?", saved.config)
        if claimed and _digest_of(raw) != f"sha256:{claimed[1]}":
            raise HostileArchive(f"the configuration {saved.config} is not what its name says")
        diff_ids = _decoded(raw, _Config, f"the configuration {saved.config}").rootfs.diff_ids
        if len(diff_ids) != len(saved.layers):
            raise HostileArchive(f"an image lists {len(saved.layers)} layers but {len(diff_ids)} diff ids")
        layers = []
        for name, diff_id in zip(saved.layers, diff_ids, strict=True):
            with files.open(name) as source, store.new_blob() as blob:
                for data in _bounded(source, LAYER_BYTES, name):
                    blob.write(data)
            _check_diff_id(store, blob.digest, diff_id)
            media_type = LAYER if blob.digest == diff_id else f"{LAYER}+gzip"
            layers.append(Layer(blob.digest, diff_id, blob.size, media_type))
        digest = store.put_image(msgspec.json.decode(raw), layers)
        for name in saved.repo_tags or ("",):
            yield name, digest


def _architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


# Out


def export(store: Store, reference: str, path: Path, form: Form = "oci") -> None:
    """Write the image as one tar archive: an OCI layout (skopeo, podman, containerd) or as `docker load` takes it.

    The same image gives the same bytes.
    """
    image = store.resolve(reference)
    if image is None:
        raise store.unknown(reference)
    name = reference if reference.startswith("sha256:") or "@" in reference else normalise(reference)
    scratch = Path(tempfile.mkdtemp(dir=_parent_of_temporary(store)))
    try:
        entries = _oci_entries(store, image, name) if form == "oci" else _docker_entries(store, image, name, scratch)
        try:
            with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as out:
                aside = Path(out.name)
                try:
                    tars.write_entries(entries, out)
                    aside.chmod(0o644)
                    aside.replace(path)
                finally:
                    aside.unlink(missing_ok=True)
        except OSError as error:
            raise ImageError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _oci_entries(store: Store, image: Image, name: str) -> list[tars.Entry]:
    manifest = store.json(image.digest)
    digests = [image.digest, str(manifest["config"]["digest"]), *(layer.digest for layer in image.layers)]
    descriptor: dict[str, object] = {
        "mediaType": MANIFEST,
        "digest": image.digest,
        "size": store.blob_path(image.digest).stat().st_size,
    }
    if "@" not in name and not name.startswith("sha256:"):
        descriptor["annotations"] = {NAME_ANNOTATION: name}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]}
    return [
        tars.Entry("oci-layout", 0o644, content=b'{"imageLayoutVersion":"1.0.0"}'),
        tars.Entry("index.json", 0o644, content=msgspec.json.encode(index)),
        tars.Entry("blobs", 0o755, directory=True),
        tars.Entry("blobs/sha256", 0o755, directory=True),
        *(
            tars.Entry(_blob_name(store, digest), 0o644, source=store.blob_path(digest))
            for digest in dict.fromkeys(digests)
        ),
    ]


def _docker_entries(store: Store, image: Image, name: str, scratch: Path) -> list[tars.Entry]:
    config = store.read(str(store.json(image.digest)["config"]["digest"]))
    config_name = f"{_digest_of(config).removeprefix('sha256:')}.json"
    layers: dict[str, Path] = {}
    for layer in image.layers:
        member = f"{layer.diff_id.removeprefix('sha256:')}.tar"
        source = store.blob_path(layer.digest)
        if layer.digest != layer.diff_id and member not in layers:
            plain = scratch / member
            with source.open("rb") as blob, plain.open("wb") as out:
                for data in _bounded(_uncompressed(blob), LAYER_BYTES, f"the layer {layer.digest}"):
                    out.write(data)
            source = plain
        layers.setdefault(member, source)
    saved: Mapping[str, object] = {
        "Config": config_name,
        "RepoTags": [name] if "@" not in name and not name.startswith("sha256:") else [],
        "Layers": [f"{layer.diff_id.removeprefix('sha256:')}.tar" for layer in image.layers],
    }
    return [
        tars.Entry("manifest.json", 0o644, content=msgspec.json.encode([saved])),
        tars.Entry(config_name, 0o644, content=config),
        *(tars.Entry(member, 0o644, source=source) for member, source in layers.items()),
    ]
