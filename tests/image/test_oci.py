"""Images come in from archives that may be hostile, and go out so that others can read them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from seatrial.image import HostileArchive, ImageError, Store, oci

Blobs = dict[str, bytes]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def a_tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def add(blobs: Blobs, content: bytes | dict[str, Any], **more: Any) -> dict[str, Any]:
    """Put a blob and describe it."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    blobs[f"blobs/sha256/{digest(data).removeprefix('sha256:')}"] = data
    return {"digest": digest(data), "size": len(data), **more}


def a_layout(
    *, name: str | None = "hello:1", compressed: bool = False, diff_id: str | None = None, **config: Any
) -> Blobs:
    """The files of an OCI layout with one image of one layer."""
    blobs: Blobs = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    layer = a_tar({"hello": b"ahoy"})
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": add(
            blobs,
            {
                "rootfs": {"type": "layers", "diff_ids": [diff_id or digest(layer)]},
                "config": {"Cmd": ["/hello"], **config},
            },
            mediaType="application/vnd.oci.image.config.v1+json",
        ),
        "layers": [
            add(
                blobs,
                gzip.compress(layer) if compressed else layer,
                mediaType="application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compressed else ""),
            )
        ],
    }
    annotations = {} if name is None else {"annotations": {"org.opencontainers.image.ref.name": name}}
    blobs["index.json"] = json.dumps({"manifests": [add(blobs, manifest, **annotations)]}).encode()
    return blobs


def written(files: Blobs, directory: Path) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


def archived(files: Blobs, path: Path) -> Path:
    path.write_bytes(a_tar(files))
    return path


def content(store: Store, name: str) -> bytes:
    image = store.resolve(name)
    assert image is not None
    return (store.rootfs_layers(image)[-1] / "hello").read_bytes()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_root_file_system_becomes_an_image_of_one_plain_layer(store: Store, compress: Any) -> None:
    image = oci.import_rootfs(store, io.BytesIO(compress(a_tar({"hello": b"ahoy"}))), "debian:13")
    assert content(store, "debian:13") == b"ahoy"
    assert [layer.digest == layer.diff_id for layer in image.layers] == [True]


def test_a_root_file_system_is_read_from_a_pipe(store: Store) -> None:
    """`docker export ... | seatrial image import --rootfs -`: the stream cannot be rewound."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as out:
        out.write(gzip.compress(a_tar({"hello": b"ahoy"})))
    with os.fdopen(reading, "rb") as stream:
        oci.import_rootfs(store, stream, "debian")
    assert content(store, "debian:latest") == b"ahoy"


@pytest.mark.parametrize(
    "stream", [b"", b"this is no tar archive" * 100, gzip.compress(a_tar({"hello": b"x" * 9999}))[:60]]
)
def test_what_is_not_a_root_file_system_leaves_no_image(store: Store, stream: bytes) -> None:
    with pytest.raises(ImageError):
        oci.import_rootfs(store, io.BytesIO(stream), "debian")
    assert store.names() == {}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_layout_is_imported_from_a_directory_and_from_archives(
    store: Store, tmp_path: Path, compressed: bool
) -> None:
    files = a_layout(compressed=compressed)
    path = archived(files, tmp_path / "a.tar")
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    manifest = json.loads(files["index.json"])["manifests"][0]["digest"]
    for source, name in [(written(files, tmp_path / "dir"), "one"), (path, "two"), (packed, "three")]:
        assert oci.import_archive(store, source, name) == (f"{name}:latest",)
        assert content(store, name) == b"ahoy"
        assert store.names()[f"{name}:latest"] == manifest, "an OCI manifest keeps its digest"


def test_an_archive_may_name_its_image(store: Store, tmp_path: Path) -> None:
    assert oci.import_archive(store, archived(a_layout(), tmp_path / "a.tar")) == ("hello:1",)


def test_an_image_without_a_name_needs_one(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="--tag NAME"):
        oci.import_archive(store, archived(a_layout(name=None), tmp_path / "a.tar"))


def test_the_image_of_this_machine_is_taken_from_an_index(store: Store, tmp_path: Path) -> None:
    files = a_layout()
    here = json.loads(files["index.json"])["manifests"][0]
    here["platform"] = {"os": "linux", "architecture": oci._architecture()}
    there = add(files, {"not": "read"}, platform={"os": "plan9", "architecture": "mips"})
    proof = add(files, {"not": "read"}, annotations={"vnd.docker.reference.type": "attestation-manifest"})
    inner = add(files, {"manifests": [there, here, proof]}, mediaType="application/vnd.oci.image.index.v1+json")
    files["index.json"] = json.dumps({"manifests": [inner]}).encode()
    assert oci.import_archive(store, archived(files, tmp_path / "a.tar"), "hello") == ("hello:latest",)


def refused(store: Store, path: Path, match: str) -> None:
    with pytest.raises(ImageError, match=match):
        oci.import_archive(store, path, "evil")
    assert store.names() == {}


def test_a_blob_that_is_not_what_its_digest_says_is_refused(store: Store, tmp_path: Path) -> None:
    files = a_layout()
    for name in [name for name in files if name.startswith("blobs/")]:
        changed = {**files, name: files[name].replace(b"ahoy", b"yoho").replace(b"/hello", b"/hellO")}
        if changed != files:
            refused(store, archived(changed, tmp_path / "a.tar"), "hand")


def test_a_layer_that_does_not_unpack_to_its_diff_id_is_refused(store: Store, tmp_path: Path) -> None:
    refused(store, archived(a_layout(diff_id=f"sha256:{'0' * 64}"), tmp_path / "a.tar"), "unpacks to")


def test_a_diff_id_that_is_a_path_is_refused(store: Store, tmp_path: Path) -> None:
    refused(store, archived(a_layout(diff_id="sha256:../../../etc"), tmp_path / "a.tar"), "unpacks to")


@pytest.mark.parametrize("value", ["../../etc/passwd", "sha256:../x", "md5:00", f"sha256:{'A' * 64}"])
def test_a_digest_that_is_a_path_is_refused(store: Store, tmp_path: Path, value: str) -> None:
    files = a_layout()
    files["index.json"] = json.dumps({"manifests": [{"digest": value, "size": 1}]}).encode()
    refused(store, archived(files, tmp_path / "a.tar"), "not a digest")


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "blobs/../../outside"])
def test_a_member_that_leads_outside_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    refused(store, archived({**a_layout(), name: b"x"}, tmp_path / "a.tar"), "leads outside")


def test_more_bytes_than_the_descriptor_says_are_refused(store: Store, tmp_path: Path) -> None:
    files = a_layout()
    index = json.loads(files["index.json"])
    index["manifests"][0]["size"] -= 1
    refused(store, archived({**files, "index.json": json.dumps(index).encode()}, tmp_path / "a.tar"), "bytes")


def test_a_layer_that_inflates_without_end_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci, "LAYER_BYTES", 5000)
    refused(store, archived(a_layout(compressed=True), tmp_path / "a.tar"), "larger than 5000")


def test_indexes_inside_of_indexes_end(store: Store, tmp_path: Path) -> None:
    files = a_layout()
    for _ in range(6):
        index = json.loads(files["index.json"])
        inner = add(files, index, mediaType="application/vnd.oci.image.index.v1+json")
        files["index.json"] = json.dumps({"manifests": [inner]}).encode()
    refused(store, archived(files, tmp_path / "a.tar"), "without end")


@pytest.mark.parametrize(
    "document", [b"", b"[]", b'{"manifests": 1}', b"\xff", b'{"manifests":[{"digest":1}]}', b"[" * 100_000]
)
def test_an_index_that_is_none_is_refused(store: Store, tmp_path: Path, document: bytes) -> None:
    refused(store, archived({**a_layout(), "index.json": document}, tmp_path / "a.tar"), "index.json|no image")


def test_a_configuration_with_wrong_types_is_refused(store: Store, tmp_path: Path) -> None:
    refused(store, archived(a_layout(Env={"PATH": "/bin"}), tmp_path / "a.tar"), "configuration")


def test_a_link_or_a_pipe_in_a_layout_is_not_opened(store: Store, tmp_path: Path) -> None:
    layout = written(a_layout(), tmp_path / "dir")
    blob = next((layout / "blobs" / "sha256").iterdir())
    kept = tmp_path / "kept"
    blob.rename(kept)
    blob.symlink_to(kept)
    refused(store, layout, "lacks")
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(HostileArchive, match="not a file"):
        oci.import_archive(store, layout, "evil")


def a_saved(**change: Any) -> Blobs:
    """What `docker save` wrote until version 24; a repeated layer is a link."""
    layer = a_tar({"hello": b"ahoy"})
    config = json.dumps({"rootfs": {"diff_ids": [digest(layer)]}, "config": {"Cmd": ["/hello"]}}).encode()
    name = f"{digest(config).removeprefix('sha256:')}.json"
    entry = {"Config": name, "RepoTags": ["hello:1", "hello:latest"], "Layers": ["abc/layer.tar"], **change}
    return {"manifest.json": json.dumps([entry]).encode(), name: config, "abc/layer.tar": layer}


def test_what_docker_saves_is_imported_under_all_its_names(store: Store, tmp_path: Path) -> None:
    assert oci.import_archive(store, archived(a_saved(), tmp_path / "a.tar")) == ("hello:1", "hello:latest")
    assert content(store, "hello:1") == b"ahoy"


def test_a_layer_may_be_a_link_inside_of_the_archive_and_not_out_of_it(store: Store, tmp_path: Path) -> None:
    for target, fine in [("../abc/layer.tar", True), ("../../../../etc/passwd", False)]:
        path = archived(a_saved(Layers=["def/layer.tar"]), tmp_path / "a.tar")
        with tarfile.open(path, "a") as tar:
            info = tarfile.TarInfo("def/layer.tar")
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        if fine:
            assert oci.import_archive(store, path, "hello") == ("hello:latest",)
        else:
            with pytest.raises(ImageError, match="lacks def"):
                oci.import_archive(store, path, "evil")


def test_a_saved_configuration_is_what_its_name_says(store: Store, tmp_path: Path) -> None:
    files = a_saved()
    name = next(name for name in files if len(name) == 69)
    refused(store, archived({**files, name: files[name] + b" "}, tmp_path / "a.tar"), "name says")


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_exported_is_imported_again(store: Store, tmp_path: Path, form: oci.Form, compressed: bool) -> None:
    oci.import_archive(store, archived(a_layout(compressed=compressed), tmp_path / "a.tar"))
    oci.export(store, "hello:1", tmp_path / "out.tar", form)
    oci.export(store, "hello:1", tmp_path / "again.tar", form)
    assert (tmp_path / "out.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()
    other = Store(tmp_path / "other")
    assert oci.import_archive(other, tmp_path / "out.tar") == ("hello:1",)
    assert content(other, "hello:1") == b"ahoy"
    before, after = store.resolve("hello:1"), other.resolve("hello:1")
    assert before is not None
    assert after is not None
    assert before.config == after.config
    assert sorted(path.name for path in tmp_path.glob("*.tar")) == ["a.tar", "again.tar", "out.tar"]


def test_an_image_that_is_not_here_is_not_exported(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no image 'gone:latest'"):
        oci.export(store, "gone", tmp_path / "out.tar")
