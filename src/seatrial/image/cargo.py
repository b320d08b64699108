"""A Cargo package becomes an image that holds one static binary and nothing it does not need.

The build runs on this machine, with its incremental cache, rather than in a container. What makes the result the
same everywhere: the lock file is law, paths of this machine are mapped to fixed ones, times are zero. The binary is
linked statically against glibc, so the image starts FROM scratch. `--target` is given even though it is this machine:
without it, the flags for static linking would reach procedural macros, which cannot be linked so.

RUSTFLAGS in the environment would replace ours rather than add to them, so it is dropped; flags of a project belong
into its `.cargo/config.toml`, where they are joined with ours.

Cargo is not even asked when nothing changed. Changed means: by content, in the sources, the lock file, the compiler,
Cargo's configuration and the environment variables it listens to. A build script that reads other variables, or files
outside of the workspace, is not seen; `cargo clean` does not help then, but changing a comment does.

Cargo itself goes by times: a source that changed but is older than the last build (unpacked from an archive, synced
with its times) would not be compiled. What the sources held at the last build is therefore noted in the target
directory, and such a file is given the present time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from seatrial.image import process, tars
from seatrial.image.errors import BuildError, ImageError
from seatrial.image.store import Image, Layer, Store

NONROOT = 65532
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# Part of every key: changes whenever the image made of the same binary changes.
_RECIPE = "1"
_INSTALL = "install it: apt-get install cargo-web rustc-web (or any Cargo from rustup)"
_IGNORED = frozenset({"target", ".git", ".hg", ".jj"})
_HEARD = ("CARGO", "RUST", "CC", "CFLAGS", "CXX")
_NOTES = "seatrial-sources.json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class _Target(msgspec.Struct, frozen=True):
    name: str
    kind: tuple[str, ...]


class _Dependency(msgspec.Struct, frozen=True):
    path: str | None = None


class _Package(msgspec.Struct, frozen=True):
    name: str
    manifest_path: str
    targets: tuple[_Target, ...]
    dependencies: tuple[_Dependency, ...] = ()
    default_run: str | None = None


class _Metadata(msgspec.Struct, frozen=True):
    """What `cargo metadata --no-deps` says of the workspace."""

    packages: tuple[_Package, ...]
    workspace_root: str


def build_image(directory: Path, *, tag: str, store: Store, progress: Callable[[str], None] | None = None) -> Image:
    """Build the package in `directory` and keep its image as `tag`. `progress` gets Cargo's lines.

    Raises `BuildError`.
    """
    directory = directory.absolute()
    if not (directory / "Cargo.toml").is_file():
        raise BuildError(f"{directory} is not a Cargo package: it has no Cargo.toml")
    if shutil.which("cargo") is None:
        raise BuildError(f"{directory.name} is a Cargo package, but cargo is not installed here", hint=_INSTALL)
    metadata = _metadata(directory)
    package = _package(metadata, directory)
    binary = _binary(package)
    root = Path(metadata.workspace_root)
    if not (root / "Cargo.lock").is_file():
        raise BuildError(
            f"{root} has no Cargo.lock, so nobody knows which versions the image would hold",
            hint=f"cd {root} && cargo generate-lockfile, then commit it",
        )
    compiler = _ask(["rustc", "-vV"], directory)
    target = _host(compiler)
    key = _key(root, package, binary, compiler)
    layer = store.cached(key)
    if layer is None or _reaches_outside(metadata):
        built = _compile(directory, root, package, binary, target, progress)
        layer = _layer(store, built, binary)
        if _key(root, package, binary, compiler) == key:  # else a source was edited meanwhile
            store.remember(key, layer)
    digest = store.put_image(_config(binary, target, layer), [layer])
    if _kept_as(store, tag) != digest:
        store.tag(tag, digest)
    return store.image(digest)


def _kept_as(store: Store, tag: str) -> str | None:
    from seatrial.image.store import normalise

    return store.names().get(normalise(tag))


def _ask(argv: list[str], directory: Path) -> str:
    try:
        return process.run(argv, cwd=directory, env=_environment(), separate_errors=False)
    except process.CommandMissing as error:
        raise BuildError(f"{argv[0]} is not installed here", hint=_INSTALL) from error
    except process.CommandFailed as error:
        raise BuildError(f"{directory}: {error}") from error


def _metadata(directory: Path) -> _Metadata:
    text = _ask(["cargo", "metadata", "--quiet", "--no-deps", "--format-version", "1"], directory)
    # Cargo's warnings come first, each on lines of their own; the answer is one line.
    answer = next((line for line in text.splitlines() if line.startswith("{")), "")
    try:
        return msgspec.json.decode(answer, type=_Metadata)
    except msgspec.DecodeError as error:
        raise BuildError(f"cargo metadata answered in a form that is not understood: {error}") from error


def _package(metadata: _Metadata, directory: Path) -> _Package:
    manifest = (directory / "Cargo.toml").resolve()
    for package in metadata.packages:
        if Path(package.manifest_path).resolve() == manifest:
            return package
    members = ", ".join(str(Path(package.manifest_path).parent) for package in metadata.packages)
    raise BuildError(f"{directory} is a workspace rather than a package", hint=f"build one of its members: {members}")


def _binary(package: _Package) -> str:
    """The one binary of the package: `default-run`, the only one, or the one named like the package."""
    names = [target.name for target in package.targets if "bin" in target.kind]
    if package.default_run is not None:
        return package.default_run
    if len(names) == 1:
        return names[0]
    if package.name in names:
        return package.name
    if not names:
        raise BuildError(f"the package {package.name} is a library: it has no binary to put into an image")
    raise BuildError(
        f"the package {package.name} has {len(names)} binaries: {', '.join(names)}",
        hint=f'say which one the image runs: default-run = "{names[0]}" in its [package] section',
    )


def _host(compiler: str) -> str:
    found = re.search(r"^host: (\S+)$", compiler, re.MULTILINE)
    if found is None:
        raise BuildError("rustc -vV does not say which machine this is", hint=_INSTALL)
    return found[1]


def _reaches_outside(metadata: _Metadata) -> bool:
    """Whether a dependency lies beside the workspace, where only Cargo knows what belongs to it."""
    root = Path(metadata.workspace_root)
    paths = (dependency.path for package in metadata.packages for dependency in package.dependencies)
    return any(not Path(path).is_relative_to(root) for path in paths if path is not None)


def _key(root: Path, package: _Package, binary: str, compiler: str) -> str:
    key = hashlib.sha256()

    def add(name: str, content: bytes) -> None:
        key.update(f"{len(name.encode())} {name} {len(content)} ".encode() + content)

    add("recipe", f"{_RECIPE} {package.name} {binary} {compiler}".encode())
    add("certificates", _certificates())
    for name, value in sorted(os.environ.items()):
        if name.startswith(_HEARD):
            add(name, value.encode("utf-8", "surrogateescape"))
    homes = [parent / ".cargo" for parent in root.parents] + [_cargo_home()]
    for path in (home / name for home in homes for name in ("config.toml", "config")):
        if path.is_file():
            add(str(path), path.read_bytes())
    for path in _sources(root):
        add(str(path.relative_to(root)), str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
    return key.hexdigest()


def _sources(directory: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.name in _IGNORED:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _sources(Path(entry.path))
        elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
            yield Path(entry.path)


def _freshen(root: Path) -> None:
    """Give sources that changed since the last build a time that shows it."""
    notes = root / "target" / _NOTES
    sources = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _sources(root)
        if path.is_file()
    }
    try:
        built = notes.stat().st_mtime_ns
        known = msgspec.json.decode(notes.read_bytes(), type=dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        built, known = 0, {}
    for name, digest in sources.items():
        path = root / name
        if known.get(name, digest) != digest and path.stat().st_mtime_ns <= built:
            os.utime(path)
    try:
        notes.parent.mkdir(exist_ok=True)
        notes.write_bytes(msgspec.json.encode(sources))
    except OSError as error:
        raise BuildError(f"{notes.parent} cannot be written: {error.strerror}") from error


def _environment() -> dict[str, str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")
    }
    return {
        "SOURCE_DATE_EPOCH": "0",
        **environment,
        "CARGO_TERM_COLOR": "never",
        "CARGO_TERM_PROGRESS_WHEN": "never",
    }


def _cargo_home() -> Path:
    return Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")


def command(root: Path, package: str, binary: str, target: str) -> list[str]:
    """The call of Cargo that builds `binary` of the workspace `root`."""
    # The last mapping that matches wins, so the one that may lie inside of the other comes later.
    mapped = sorted([(str(_cargo_home()), "/cargo"), (str(root), "/source")], key=lambda pair: len(pair[0]))
    flags = ["-Ctarget-feature=+crt-static", *(f"--remap-path-prefix={here}={there}" for here, there in mapped)]
    rustflags = msgspec.json.encode(flags).decode()  # strings of JSON are strings of TOML
    return [
        *("cargo", "build", "--release", "--locked", "--target", target, "--target-dir", str(root / "target")),
        *("--package", package, "--bin", binary),
        *("--config", f"target.'cfg(all())'.rustflags={rustflags}"),
    ]


def _compile(
    directory: Path, root: Path, package: _Package, binary: str, target: str, progress: Callable[[str], None] | None
) -> Path:
    argv = command(root, package.name, binary, target)
    _freshen(root)
    try:
        process.run(argv, cwd=directory, env=_environment(), on_line=progress)
    except process.CommandFailed as error:
        raise BuildError(f"the package {package.name} does not build: {error}", hint=_advice(error)) from error
    return root / "target" / target / "release" / binary


def _advice(error: process.CommandFailed) -> str:
    output = "\n".join(error.last_lines)
    if "--locked was passed" in output:
        return "Cargo.lock does not fit Cargo.toml any more: run `cargo update --workspace` and commit it"
    if "failed to download" in output or "Could not resolve host" in output:
        return "crates are downloaded at the first build: check the network, or `cargo vendor` them"
    if "can't find crate for `std`" in output or "can't find crate for `core`" in output:
        return "the standard library for this target is missing: apt-get install libstd-rust-web-dev"
    return ""


def _certificates() -> bytes:
    try:
        return CERTIFICATES.read_bytes()
    except OSError:
        return b""


def _layer(store: Store, binary: Path, name: str) -> Layer:
    passwd = f"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{NONROOT}:{NONROOT}:nonroot:/:/sbin/nologin\n"
    entries = [
        tars.Entry("etc", 0o755, directory=True),
        tars.Entry("etc/passwd", 0o644, content=passwd.encode()),
        tars.Entry("etc/group", 0o644, content=f"root:x:0:\nnonroot:x:{NONROOT}:\n".encode()),
        # A static glibc resolves names with what it has built in, which is these two.
        tars.Entry("etc/nsswitch.conf", 0o644, content=b"hosts: files dns\n"),
        tars.Entry("tmp", 0o1777, directory=True),
        tars.Entry(name, 0o755, source=binary),
    ]
    certificates = _certificates()
    if certificates:
        entries += [
            tars.Entry("etc/ssl", 0o755, directory=True),
            tars.Entry("etc/ssl/certs", 0o755, directory=True),
            tars.Entry("etc/ssl/certs/ca-certificates.crt", 0o644, content=certificates),
        ]
    if name in {entry.name.partition("/")[0] for entry in entries[:-1] if entry.name != name}:
        raise BuildError(f"a binary cannot be named {name!r}: the image has a directory of that name")
    try:
        with store.new_blob() as blob:
            tars.write_entries(entries, blob)  # type: ignore[arg-type]  # tarfile calls write and tell only
    except FileNotFoundError as error:
        raise BuildError(
            f"cargo built no {binary}", hint="has the package a [[bin]] with required-features?"
        ) from error
    except OSError as error:
        raise ImageError(f"the image of {name} cannot be written: {error}") from error
    return Layer(blob.digest, blob.digest, blob.size)


def _config(binary: str, target: str, layer: Layer) -> dict[str, object]:
    machine = target.partition("-")[0]
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": [f"/{binary}"], "User": f"{NONROOT}:{NONROOT}", "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": f"cargo build --release --bin {binary}"}],
    }
