"""Where images are kept: an OCI image layout, and beside it every layer unpacked once.

    DIR/oci-layout, index.json       names -> manifests (the annotation org.opencontainers.image.ref.name)
    DIR/blobs/sha256/HEX             manifests, configurations, layers: named by what they hold
    DIR/layers/HEX                   layers unpacked for overlayfs, named by the start of their diff id
    DIR/cache/KEY.json               what a build step gave: its layer
    DIR/mounts/KEY               what RUN --mount=type=cache keeps
    DIR/tmp, DIR/lock, DIR/writers

A file appears under its final name only when it is complete (written aside, then renamed), so a killed process
leaves rubbish in `tmp` and nothing else. The index is changed under a lock, because several processes may build.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from seatrial.image import tars
from seatrial.image.errors import HostileArchive, ImageError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
NAME_ANNOTATION = "org.opencontainers.image.ref.name"

Wire = dict[str, Any]

# Long enough never to collide, short enough that 70 layers fit into one page of mount options.
_LAYER_NAME_LENGTH = 20


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How a container of the image starts, unless its pod says otherwise (OCI image-spec, config.md)."""

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    exposed_ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: `digest` names its blob, `diff_id` what the blob unpacks to; equal unless it is compressed."""

    digest: str
    diff_id: str
    size: int
    media_type: str = LAYER


@dataclass(frozen=True, slots=True)
class Image:
    digest: str
    config: ImageConfig
    layers: tuple[Layer, ...]
    raw_config: Wire


def normalise(reference: str) -> str:
    """The name under which an image is kept: `redis` is `redis:latest`, `docker.io/library/redis` is `redis`."""
    name = reference.strip()
    for prefix in ("docker.io/library/", "index.docker.io/library/", "docker.io/"):
        name = name.removeprefix(prefix)
    if not name or any(mark.isspace() for mark in name) or name.startswith(("/", "-", ":")):
        raise ImageError(f"{reference!r} is not the name of an image", hint="names look like shop/web:1.0")
    if "@" in name:
        return name
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


class Store:
    """Images in the directory `path`, which is created when something is first written."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    # Blobs

    def blob_path(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise HostileArchive(f"{digest!r} is not a digest that is supported", hint="sha256:... is")
        return self.path / "blobs" / "sha256" / value

    def has(self, digest: str) -> bool:
        return self.blob_path(digest).is_file()

    def read(self, digest: str) -> bytes:
        try:
            return self.blob_path(digest).read_bytes()
        except FileNotFoundError as error:
            raise ImageError(
                f"the image store {self.path} lacks {digest}", hint="build or import the image again"
            ) from error

    def json(self, digest: str) -> Wire:
        try:
            value = msgspec.json.decode(self.read(digest))
        except msgspec.DecodeError as error:
            raise ImageError(f"{digest} should be JSON and is not: {error}") from error
        if not isinstance(value, dict):
            raise ImageError(f"{digest} should be a JSON object")
        return value

    @contextmanager
    def new_blob(self, expected: str | None = None) -> Iterator[NewBlob]:
        """A file to write to; a blob of the store once the block ends well. `expected` is the digest it must have."""
        directory = self.temporary()
        blob = NewBlob(directory / "blob")
        try:
            with blob:
                yield blob
            if expected is not None and blob.digest != expected:
                raise HostileArchive(
                    f"content with the digest {blob.digest} was handed out as {expected}",
                    hint="the archive is damaged or was tampered with; fetch it again",
                )
            target = self.blob_path(blob.digest)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(blob.path, target)  # noqa: PTH105
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def put(self, content: bytes) -> str:
        with self.new_blob() as blob:
            blob.write(content)
        return blob.digest

    def put_json(self, value: Wire) -> str:
        return self.put(msgspec.json.encode(value, order="sorted"))

    def temporary(self) -> Path:
        """A new directory on the store's file system; the caller removes it."""
        parent = self.path / "tmp"
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(
                f"the image store {self.path} cannot be written: {error.strerror}",
                hint="run this as root, or choose another directory with --state",
            ) from error
        return Path(tempfile.mkdtemp(dir=parent))

    # Names

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _index(self) -> list[Wire]:
        try:
            index = msgspec.json.decode((self.path / "index.json").read_bytes())
        except FileNotFoundError:
            return []
        return list(index.get("manifests", []))

    def _write_index(self, manifests: list[Wire]) -> None:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        self._replace(self.path / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        self._replace(self.path / "index.json", msgspec.json.encode(index))

    def _replace(self, target: Path, content: bytes) -> None:
        directory = self.temporary()
        try:
            (directory / "file").write_bytes(content)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(directory / "file", target)  # noqa: PTH105
        finally:
            shutil.rmtree(directory)

    def names(self) -> dict[str, str]:
        """Every name with the digest of its manifest, sorted."""
        found = {
            str(entry["annotations"][NAME_ANNOTATION]): str(entry["digest"])
            for entry in self._index()
            if NAME_ANNOTATION in entry.get("annotations", {})
        }
        return dict(sorted(found.items()))

    def tag(self, reference: str, digest: str) -> None:
        name = normalise(reference)
        entry = {
            "mediaType": MANIFEST,
            "digest": digest,
            "size": len(self.read(digest)),
            "annotations": {NAME_ANNOTATION: name},
        }
        with self._locked():
            others = [old for old in self._index() if old.get("annotations", {}).get(NAME_ANNOTATION) != name]
            self._write_index([*others, entry])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Held by whoever adds blobs that no name leads to yet: nothing is swept away meanwhile."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "writers").open("w") as writers:
            fcntl.flock(writers, fcntl.LOCK_SH)
            yield

    def remove(self, reference: str) -> None:
        """Forget a name, and every blob and unpacked layer that no other name needs.

        While something is being built or imported the second part is left to the next removal.
        """
        name = normalise(reference)
        with self._locked():
            index = self._index()
            kept = [entry for entry in index if entry.get("annotations", {}).get(NAME_ANNOTATION) != name]
            if len(kept) == len(index):
                raise self.unknown(reference)
            self._write_index(kept)
            with (self.path / "writers").open("w") as writers:
                try:
                    fcntl.flock(writers, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                self._sweep({str(entry["digest"]) for entry in kept})

    def _sweep(self, manifests: set[str]) -> None:
        needed, unpacked = set(manifests), set()
        for digest in manifests:
            image = self.image(digest)
            needed |= {str(self.json(digest)["config"]["digest"])} | {layer.digest for layer in image.layers}
            unpacked |= {self._layer_path(layer).name for layer in image.layers}
        for step in (self.path / "cache").glob("*.json"):
            layer = msgspec.json.decode(step.read_bytes(), type=Layer)
            if layer.digest not in needed:
                step.unlink()
        for blob in (self.path / "blobs" / "sha256").glob("*"):
            if f"sha256:{blob.name}" not in needed:
                blob.unlink()
        for directory in (self.path / "layers").glob("*"):
            if directory.name not in unpacked:
                shutil.rmtree(directory, ignore_errors=True)

    def unknown(self, reference: str) -> ImageError:
        names = list(self.names())
        return ImageError(
            f"there is no image {normalise(reference)!r} in {self.path}",
            hint=f"there are: {', '.join(names[:8])}" if names else "the store is empty; `seatrial build` fills it",
        )

    # Images

    def resolve(self, reference: str) -> Image | None:
        """The image of that name or manifest digest; None if it is not here."""
        if reference.startswith("sha256:"):
            return self.image(reference) if self.has(reference) else None
        name = normalise(reference)
        if "@" in name:
            digest = name.partition("@")[2]
            return self.image(digest) if self.has(digest) else None
        digest = self.names().get(name, "")
        return self.image(digest) if digest else None

    def image(self, digest: str) -> Image:
        manifest = self.json(digest)
        raw = self.json(str(manifest["config"]["digest"]))
        diff_ids = [str(value) for value in raw.get("rootfs", {}).get("diff_ids", [])]
        blobs = list(manifest.get("layers", []))
        if len(diff_ids) != len(blobs):
            raise ImageError(f"the image {digest} lists {len(blobs)} layers but {len(diff_ids)} diff ids")
        layers = tuple(
            Layer(str(blob["digest"]), diff_id, int(blob["size"]), str(blob.get("mediaType", LAYER)))
            for blob, diff_id in zip(blobs, diff_ids, strict=True)
        )
        return Image(digest=digest, config=config_of(raw), layers=layers, raw_config=raw)

    def put_image(self, raw_config: Wire, layers: Sequence[Layer]) -> str:
        """Write configuration and manifest; the manifest's digest."""
        config = msgspec.json.encode(raw_config, order="sorted")
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.put(config), "size": len(config)},
            "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
        return self.put_json(manifest)

    def size(self, image: Image) -> int:
        return sum(layer.size for layer in image.layers)

    # Unpacked layers

    def _layer_path(self, layer: Layer) -> Path:
        return self.path / "layers" / layer.diff_id.partition(":")[2][:_LAYER_NAME_LENGTH]

    def rootfs_layers(self, image: Image) -> tuple[Path, ...]:
        """The image's layers as directories for `lowerdir`, lowest first; unpacked if they are not yet."""
        return tuple(self.layer_directory(layer) for layer in image.layers)

    def layer_directory(self, layer: Layer, on_progress: Callable[[int], None] | None = None) -> Path:
        target = self._layer_path(layer)
        if target.is_dir():
            return target
        directory = self.temporary()
        root = directory / "root"
        root.mkdir(mode=0o755)
        try:
            with self.blob_path(layer.digest).open("rb") as blob, _plain(blob) as plain:
                measured = _Measured(plain)
                tars.unpack(measured, root, on_progress=on_progress)  # type: ignore[arg-type]
                measured.rest()
            if measured.digest != layer.diff_id:
                raise HostileArchive(f"a layer unpacks to {measured.digest}, its image says {layer.diff_id}")
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                root.rename(target)
            except OSError:
                if not target.is_dir():  # else another process was quicker
                    raise
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return target

    # Build steps

    def cached(self, key: str) -> Layer | None:
        try:
            layer = msgspec.json.decode((self.path / "cache" / f"{key}.json").read_bytes(), type=Layer)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return layer if self.has(layer.digest) else None

    @contextmanager
    def shared_directory(self, name: str) -> Iterator[Path]:
        """A directory that outlives builds, for one of them at a time: what RUN --mount=type=cache shows."""
        path = self.path / "mounts" / name
        path.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path

    def remember(self, key: str, layer: Layer) -> None:
        self._replace(self.path / "cache" / f"{key}.json", msgspec.json.encode(layer))


class NewBlob:
    """A file being written whose digest is known at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file: IO[bytes] = path.open("wb")

    def __enter__(self) -> NewBlob:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def copy(self, source: IO[bytes]) -> None:
        while data := source.read(1 << 20):
            self.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


class _Measured:
    """A stream that hashes what is read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def rest(self) -> None:
        while self.read(1 << 20):
            pass

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def _plain(blob: IO[bytes]) -> IO[bytes]:
    """The blob decompressed, by what it starts with rather than by what its media type claims."""
    import bz2
    import lzma

    start = blob.read(6)
    blob.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(blob)  # type: ignore[return-value]
    if start.startswith(b"BZh"):
        return bz2.open(blob)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.open(blob)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        raise ImageError("a layer is compressed with zstd, which is not supported", hint="export the image with gzip")
    return blob


def diff_id(path: Path) -> str:
    """The digest of the uncompressed content of a layer's file."""
    with path.open("rb") as file, _plain(file) as plain:
        measured = _Measured(plain)
        measured.rest()
        return measured.digest


def config_of(raw: Wire) -> ImageConfig:
    """The typed view of an image's configuration; `null` and absent are the same, as in Go."""
    config = raw.get("config") or {}
    return ImageConfig(
        env=tuple(config.get("Env") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        user=str(config.get("User") or ""),
        workdir=str(config.get("WorkingDir") or ""),
        exposed_ports=tuple(sorted(config.get("ExposedPorts") or ())),
        labels=dict(config.get("Labels") or {}),
        stop_signal=str(config.get("StopSignal") or ""),
    )


def chain_id(layers: Sequence[Layer]) -> str:
    """OCI image-spec, config.md, "Layer ChainID"; empty for no layers."""
    chain = ""
    for layer in layers:
        chain = f"sha256:{hashlib.sha256(f'{chain} {layer.diff_id}'.encode()).hexdigest()}" if chain else layer.diff_id
    return chain
