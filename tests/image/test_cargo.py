"""A Cargo package becomes an image from scratch, the same one wherever and whenever it is built."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from seatrial.image import Image, ImageError, Store, cargo
from seatrial.image.errors import BuildError

needs_cargo = pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")

MANIFEST = """\
[package]
name = "hello"
version = "0.1.0"
edition = "2021"
"""
LOCK = 'version = 3\n\n[[package]]\nname = "hello"\nversion = "0.1.0"\n'
MAIN = 'fn main() { println!("ahoy from {}", file!()); std::process::exit(std::env::args().count() as i32 + 2); }\n'


def a_crate(directory: Path, *, manifest: str = MANIFEST, main: str = MAIN, lock: str | None = LOCK) -> Path:
    (directory / "src").mkdir(parents=True)
    (directory / "Cargo.toml").write_text(manifest)
    (directory / "src" / "main.rs").write_text(main)
    if lock is not None:
        (directory / "Cargo.lock").write_text(lock)
    return directory


@pytest.fixture
def crate(tmp_path: Path) -> Path:
    return a_crate(tmp_path / "hello")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def built(crate: Path, store: Store) -> tuple[Image, list[str]]:
    """The image, and what Cargo said: nothing if it was not asked."""
    said: list[str] = []
    return cargo.build_image(crate, tag="hello:1", store=store, progress=said.append), said


@needs_cargo
def test_the_image_holds_one_static_binary_and_what_it_needs(crate: Path, store: Store) -> None:
    image, _ = built(crate, store)
    assert store.resolve("hello:1") == image
    assert (image.config.entrypoint, image.config.user, image.config.workdir) == (("/hello",), "65532:65532", "/")
    (root,) = store.rootfs_layers(image)
    assert "nonroot:x:65532:65532" in (root / "etc/passwd").read_text()
    assert "nonroot:x:65532:" in (root / "etc/group").read_text()
    assert (root / "etc/ssl/certs/ca-certificates.crt").exists() == cargo.CERTIFICATES.exists()
    status = (root / "hello").stat()
    assert (stat.S_IMODE(status.st_mode), int(status.st_mtime)) == (0o755, 0)
    ran = subprocess.run([root / "hello"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (3, "ahoy from src/main.rs\n")
    assert b"/lib64/ld-linux" not in (root / "hello").read_bytes(), "a dynamic linker is asked for"


@needs_cargo
def test_two_clones_give_one_image(tmp_path: Path) -> None:
    """Neither the directory, nor its times, nor RUSTFLAGS in the environment shows in the image."""
    panics = 'fn main() { panic!("at {}", env!("CARGO_PKG_NAME")); }\n'
    one, _ = built(a_crate(tmp_path / "a", main=panics), Store(tmp_path / "one"))
    two, _ = built(a_crate(tmp_path / "a-longer-name", main=panics), Store(tmp_path / "two"))
    assert one.digest == two.digest


@needs_cargo
def test_flags_of_the_environment_do_not_replace_ours(
    crate: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUSTFLAGS", "--this-flag-does-not-exist")
    monkeypatch.setenv("CARGO_TARGET_DIR", "/nonexistent")
    image, _ = built(crate, store)
    assert image.config.entrypoint == ("/hello",)


@needs_cargo
def test_cargo_is_asked_only_when_something_changed(crate: Path, store: Store) -> None:
    first, said = built(crate, store)
    assert any("Compiling hello" in line for line in said)
    os.utime(crate / "src" / "main.rs")
    again, said = built(crate, store)
    assert (again, said) == (first, [])
    (crate / "src" / "main.rs").write_text(MAIN.replace("ahoy", "avast"))
    changed, said = built(crate, store)
    assert changed.digest != first.digest
    assert said
    assert store.resolve("hello:1") == changed


@needs_cargo
def test_a_changed_source_is_compiled_however_old_it_says_it_is(crate: Path, store: Store) -> None:
    """As after `rsync --times` or unpacking an older release over a newer one."""
    first, _ = built(crate, store)
    source = crate / "src" / "main.rs"
    source.write_text(MAIN.replace("ahoy", "avast"))
    os.utime(source, (1_000_000_000, 1_000_000_000))
    changed, _ = built(crate, store)
    assert changed.digest != first.digest


@needs_cargo
def test_a_build_that_fails_shows_what_the_compiler_said(crate: Path, store: Store) -> None:
    (crate / "src" / "main.rs").write_text("fn main() { nonsense }\n")
    with pytest.raises(BuildError, match="cannot find value `nonsense`") as raised:
        built(crate, store)
    assert "cargo build --release --locked" in str(raised.value), "a command to try it by hand"
    assert store.names() == {}


@needs_cargo
def test_a_lock_file_is_required(tmp_path: Path, store: Store) -> None:
    with pytest.raises(BuildError, match=r"no Cargo.lock"):
        built(a_crate(tmp_path / "hello", lock=None), store)


@needs_cargo
def test_a_lock_file_that_does_not_fit_is_refused(crate: Path, store: Store) -> None:
    (crate / "Cargo.toml").write_text(MANIFEST.replace("0.1.0", "0.2.0"))
    with pytest.raises(BuildError, match="does not fit Cargo"):
        built(crate, store)


def test_where_cargo_is_missing_the_message_says_how_to_get_it(
    crate: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BuildError, match="apt-get install cargo-web rustc-web"):
        built(crate, store)


def test_a_directory_without_a_manifest_is_no_package(tmp_path: Path, store: Store) -> None:
    with pytest.raises(ImageError, match=r"no Cargo.toml"):
        cargo.build_image(tmp_path, tag="hello", store=store)


@needs_cargo
def test_of_several_binaries_the_default_runs(tmp_path: Path, store: Store) -> None:
    bins = '\n[[bin]]\nname = "one"\npath = "src/main.rs"\n\n[[bin]]\nname = "two"\npath = "src/main.rs"\n'
    crate = a_crate(tmp_path / "hello", manifest=MANIFEST + bins)
    with pytest.raises(BuildError, match="2 binaries: one, two") as raised:
        built(crate, store)
    assert 'default-run = "one"' in str(raised.value)
    (crate / "Cargo.toml").write_text(MANIFEST + 'default-run = "two"\n' + bins)
    image, _ = built(crate, store)
    assert image.config.entrypoint == ("/two",)


@needs_cargo
def test_a_member_of_a_workspace_is_built_from_its_own_directory(tmp_path: Path, store: Store) -> None:
    (tmp_path / "Cargo.toml").write_text('[workspace]\nmembers = ["hello"]\nresolver = "2"\n')
    (tmp_path / "Cargo.lock").write_text(LOCK)
    crate = a_crate(tmp_path / "hello", lock=None)
    image, _ = built(crate, Store(tmp_path / "target" / "store"))
    assert image.config.entrypoint == ("/hello",)
    with pytest.raises(BuildError, match="build one of its members"):
        built(tmp_path, store)


@needs_cargo
def test_a_dependency_beside_the_package_is_seen_to_change(tmp_path: Path, store: Store) -> None:
    library = tmp_path / "words"
    (library / "src").mkdir(parents=True)
    (library / "Cargo.toml").write_text(MANIFEST.replace("hello", "words"))
    (library / "src" / "lib.rs").write_text('pub const WORD: &str = "ahoy";\n')
    crate = a_crate(
        tmp_path / "hello",
        manifest=MANIFEST + '\n[dependencies]\nwords = { path = "../words" }\n',
        main='fn main() { println!("{}", words::WORD) }\n',
        lock=LOCK.replace('0.1.0"', '0.1.0"\ndependencies = ["words"]', 1)
        + '\n[[package]]\nname = "words"\nversion = "0.1.0"\n',
    )
    first, _ = built(crate, store)
    (library / "src" / "lib.rs").write_text('pub const WORD: &str = "avast";\n')
    second, _ = built(crate, store)
    assert first.digest != second.digest
