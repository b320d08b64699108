"""The store: content is complete or absent, found by every name people use, and shared between processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seatrial.image import HostileArchive, Image, ImageError, Layer, Store, tars
from seatrial.image.store import normalise


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def a_layer(store: Store, content: bytes) -> Layer:
    with store.new_blob() as blob:
        tars.write_entries([tars.Entry("file", 0o644, content=content)], blob)  # type: ignore[arg-type]
    return Layer(blob.digest, blob.digest, blob.size)


def an_image(store: Store, *contents: bytes) -> Image:
    layers = [a_layer(store, content) for content in contents]
    config = {"config": {"Cmd": ["/file"]}, "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]}}
    return store.image(store.put_image(config, layers))


def files(store: Store) -> set[str]:
    return {str(path.relative_to(store.path)) for path in store.path.rglob("*") if path.is_file()}


def test_a_blob_is_named_by_what_it_holds(store: Store) -> None:
    digest = store.put(b"ahoy")
    assert store.read(digest) == b"ahoy"
    assert store.put(b"ahoy") == digest


def test_a_blob_that_is_not_finished_leaves_nothing(store: Store) -> None:
    def interrupted() -> None:
        with store.new_blob() as blob:
            blob.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert files(store) == set()


def test_a_blob_that_is_not_what_was_promised_is_refused(store: Store) -> None:
    expected = f"sha256:{'0' * 64}"
    with pytest.raises(HostileArchive, match=expected), store.new_blob(expected) as blob:
        blob.write(b"something else")
    assert files(store) == set()


def test_a_process_killed_while_writing_leaves_rubbish_in_tmp_only(store: Store) -> None:
    script = """if True:
        import os, signal, sys
        from seatrial.image import Store
        with Store(sys.argv[1]).new_blob() as blob:
            blob.write(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", script, str(store.path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert {name.partition("/")[0] for name in files(store)} == {"tmp"}


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "sha512:00", "", f"sha256:{'A' * 64}"])
def test_a_digest_is_never_a_path(store: Store, digest: str) -> None:
    with pytest.raises(HostileArchive, match="not a digest"):
        store.read(digest)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("redis", "redis:latest"),
        ("docker.io/library/redis:7", "redis:7"),
        ("docker.io/shop/web:1", "shop/web:1"),
        ("localhost:5000/web", "localhost:5000/web:latest"),
        ("localhost:5000/web:2", "localhost:5000/web:2"),
    ],
)
def test_an_image_has_one_name_however_it_is_written(reference: str, name: str) -> None:
    assert normalise(reference) == name


@pytest.mark.parametrize("reference", ["", " ", "a b", "/web", "-web", ":1"])
def test_what_cannot_be_a_name_is_refused(reference: str) -> None:
    with pytest.raises(ImageError, match="not the name of an image"):
        normalise(reference)


def test_an_image_is_found_by_name_and_by_digest(store: Store) -> None:
    image = an_image(store, b"one")
    store.tag("docker.io/library/web:1", image.digest)
    for reference in ("web:1", "docker.io/library/web:1", image.digest, f"web@{image.digest}"):
        assert store.resolve(reference) == image
    for reference in ("web", "web:2", f"sha256:{'0' * 64}", f"web@sha256:{'0' * 64}"):
        assert store.resolve(reference) is None


def test_an_empty_store_has_no_images_and_is_not_created_by_looking(store: Store) -> None:
    assert store.resolve("web") is None
    assert store.names() == {}
    assert not store.path.exists()


def test_a_name_moves_to_another_image(store: Store) -> None:
    one, two = an_image(store, b"one"), an_image(store, b"two")
    store.tag("web", one.digest)
    store.tag("web", two.digest)
    assert store.names() == {"web:latest": two.digest}


def test_a_name_for_an_image_that_is_not_here_is_refused(store: Store) -> None:
    with pytest.raises(ImageError, match="lacks"):
        store.tag("web", f"sha256:{'0' * 64}")


def test_removing_keeps_what_others_need(store: Store) -> None:
    one, two = an_image(store, b"base", b"one"), an_image(store, b"base", b"two")
    store.tag("one", one.digest)
    store.tag("two", two.digest)
    store.rootfs_layers(one)
    kept = store.rootfs_layers(two)
    store.remember("step-one", one.layers[1])
    store.remember("step-two", two.layers[1])
    store.remove("one")
    assert store.resolve("two") == two
    assert sorted(path.name for path in (store.path / "layers").iterdir()) == sorted(path.name for path in kept)
    assert not store.has(one.layers[1].digest)
    assert store.cached("step-one") is None
    assert store.cached("step-two") == two.layers[1]


def test_removing_what_is_not_there_says_what_is(store: Store) -> None:
    store.tag("web", an_image(store, b"one").digest)
    with pytest.raises(ImageError, match="there are: web:latest"):
        store.remove("wbe")


def test_layers_are_unpacked_once_and_lowest_first(store: Store) -> None:
    image = an_image(store, b"below", b"above")
    layers = store.rootfs_layers(image)
    assert [(layer / "file").read_bytes() for layer in layers] == [b"below", b"above"]
    (layers[0] / "mark").touch()
    assert (store.rootfs_layers(image)[0] / "mark").exists()


def test_a_layer_that_is_not_what_its_image_says_is_not_unpacked(store: Store) -> None:
    layer = a_layer(store, b"one")
    lie = Layer(layer.digest, f"sha256:{'0' * 64}", layer.size)
    with pytest.raises(HostileArchive, match="unpacks to"):
        store.layer_directory(lie)
    assert not list((store.path / "layers").glob("*"))


def test_threads_that_unpack_the_same_layer_all_get_it(store: Store) -> None:
    image = an_image(store, os.urandom(1 << 20))
    start = threading.Barrier(4)
    found: list[Path] = []

    def unpack() -> None:
        start.wait()
        found.append(store.rootfs_layers(image)[0])

    threads = [threading.Thread(target=unpack) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert not list((store.path / "tmp").iterdir())


def test_processes_that_name_images_at_once_lose_no_name(store: Store) -> None:
    digest = an_image(store, b"one").digest
    script = """if True:
        import sys
        from seatrial.image import Store
        for number in range(20):
            Store(sys.argv[1]).tag(f"{sys.argv[3]}:{number}", sys.argv[2])
    """
    argv = [sys.executable, "-c", script, str(store.path), digest]
    running = [subprocess.Popen([*argv, name]) for name in ("red", "green", "blue")]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(store.names()) == 60


def test_a_step_is_remembered_while_its_layer_is_there(store: Store) -> None:
    layer = a_layer(store, b"one")
    assert store.cached("key") is None
    store.remember("key", layer)
    assert store.cached("key") == layer
    store.blob_path(layer.digest).unlink()
    assert store.cached("key") is None
