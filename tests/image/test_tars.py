"""A layer is unpacked as if an enemy had packed it, and whiteouts become what overlayfs expects."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from seatrial.image import HostileArchive, ImageError, tars

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="devices and trusted attributes need root")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.uid, info.gid = os.geteuid(), os.getegid()
    return info


def directory(name: str) -> tarfile.TarInfo:
    return member(name, tarfile.DIRTYPE, mode=0o755)


def symlink(name: str, to: str) -> tarfile.TarInfo:
    return member(name, tarfile.SYMTYPE, to)


def packed(*members: tarfile.TarInfo) -> io.BytesIO:
    """An archive whose files hold their own names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info in members:
            content = info.name.encode() if info.isreg() else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    out.seek(0)
    return out


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty directory to unpack into, beside a file that must stay as it is."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("untouched")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def untouched(root: Path) -> bool:
    outside = root.parent / "outside"
    return [path.name for path in outside.iterdir()] == ["precious"] and (
        outside / "precious"
    ).read_text() == "untouched"


@pytest.mark.parametrize("name", ["../outside/precious", "a/../../outside/new", ".."])
def test_dots_that_lead_outside_are_refused(root: Path, name: str) -> None:
    with pytest.raises(HostileArchive, match="leads outside"):
        tars.unpack(packed(member(name)), root)
    assert untouched(root)


def test_an_absolute_name_is_meant_from_the_root_of_the_layer(root: Path) -> None:
    outside = root.parent / "outside"
    tars.unpack(packed(member(f"{outside}/precious")), root)
    assert untouched(root)
    assert (root / str(outside).lstrip("/") / "precious").is_file()


@pytest.mark.parametrize("target", ["../outside", "../../../../../../..", "/"])
def test_a_symbolic_link_does_not_lead_a_later_entry_outside(root: Path, target: str) -> None:
    where = root.parent / "outside" if target == "/" else Path()
    below = f"link{where}/new" if target == "/" else "link/new"
    tars.unpack(packed(symlink("link", target), member(below)), root)
    assert untouched(root)
    assert str((root / "link").readlink()) == target, "the link itself is content and stays"


def test_an_absolute_symbolic_link_is_followed_from_the_root_of_the_layer(root: Path) -> None:
    """`/lib -> /usr/lib` and then `lib/libc.so` is how merged-usr distributions look."""
    tars.unpack(packed(directory("usr"), directory("usr/lib"), symlink("lib", "/usr/lib"), member("lib/libc.so")), root)
    assert (root / "usr/lib/libc.so").is_file()
    assert not (root / "usr/lib/libc.so").is_symlink()


def test_a_file_replaces_a_link_rather_than_what_the_link_points_to(root: Path) -> None:
    tars.unpack(packed(symlink("file", "../outside/precious"), member("file")), root)
    assert untouched(root)
    assert (root / "file").read_text() == "file"


def test_links_in_a_circle_are_refused(root: Path) -> None:
    with pytest.raises(HostileArchive, match="too many"):
        tars.unpack(packed(symlink("a", "b"), symlink("b", "a"), member("a/file")), root)


@pytest.mark.parametrize("target", ["../outside/precious", "a/../../outside/precious"])
def test_a_hard_link_to_the_outside_is_refused(root: Path, target: str) -> None:
    with pytest.raises(HostileArchive, match="hard link"):
        tars.unpack(packed(member("link", tarfile.LNKTYPE, target)), root)
    assert untouched(root)


def test_a_hard_link_through_a_symbolic_link_stays_inside(root: Path) -> None:
    """Otherwise a second entry of the same name would write through the hard link."""
    with pytest.raises(HostileArchive, match="not in the archive"):
        tars.unpack(packed(symlink("out", "../outside"), member("link", tarfile.LNKTYPE, "out/precious")), root)
    assert untouched(root)


def test_a_hard_link_inside_of_the_layer_shares_the_file(root: Path) -> None:
    tars.unpack(packed(member("one"), member("two", tarfile.LNKTYPE, "one")), root)
    assert (root / "one").stat().st_ino == (root / "two").stat().st_ino


def test_devices_need_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ImageError, match="only be created by root"):
        tars.unpack(packed(member("null", tarfile.CHRTYPE)), root)


@needs_root
def test_a_device_keeps_its_numbers_and_its_mode(root: Path) -> None:
    info = member("null", tarfile.CHRTYPE, mode=0o666)
    info.devmajor, info.devminor = 1, 3
    tars.unpack(packed(info), root)
    status = (root / "null").stat()
    assert (status.st_rdev, stat.S_IMODE(status.st_mode)) == (os.makedev(1, 3), 0o666)


@needs_root
def test_an_attribute_that_the_kernel_refuses_is_told_in_a_sentence(root: Path) -> None:
    info = member("ping")
    info.pax_headers = {"SCHILY.xattr.security.capability": "nonsense"}
    with pytest.raises(ImageError, match="cannot be unpacked"):
        tars.unpack(packed(info), root)


@needs_root
def test_a_whiteout_becomes_the_device_that_overlayfs_takes_for_one(root: Path) -> None:
    tars.unpack(packed(directory("etc"), member("etc/.wh.passwd")), root)
    status = (root / "etc/passwd").lstat()
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == 0
    assert not (root / "etc/.wh.passwd").exists()


@needs_root
@pytest.mark.parametrize("first", [True, False])
def test_an_opaque_marker_hides_what_is_below_and_not_what_is_beside(root: Path, first: bool) -> None:
    """OCI image-spec, layer.md, "Opaque Whiteout": applied first, wherever it is in the archive."""
    marker, file = member("etc/.wh..wh..opq"), member("etc/new")
    tars.unpack(packed(directory("etc"), *([marker, file] if first else [file, marker])), root)
    assert tars.is_opaque(root / "etc")
    assert (root / "etc/new").is_file()


@needs_root
def test_a_directory_that_replaces_a_removed_one_is_opaque(root: Path) -> None:
    tars.unpack(packed(member(".wh.cache"), directory("cache"), member("cache/new")), root)
    assert tars.is_opaque(root / "cache")
    assert [path.name for path in (root / "cache").iterdir()] == ["new"]


@pytest.mark.parametrize("name", [".wh.", ".wh...", ".wh..", "etc/.wh..wh.x"])
def test_a_whiteout_of_nothing_sensible_is_refused(root: Path, name: str) -> None:
    with pytest.raises(HostileArchive, match="not a valid whiteout"):
        tars.unpack(packed(member(name)), root)
    assert root.is_dir()
    assert untouched(root)


@needs_root
def test_a_whiteout_does_not_reach_outside_through_a_link(root: Path) -> None:
    tars.unpack(packed(symlink("out", "../outside"), member("out/.wh.precious")), root)
    assert untouched(root)


def test_modes_and_times_are_kept_even_of_directories_that_forbid_writing(root: Path) -> None:
    locked = directory("locked")
    locked.mode, locked.mtime = 0o555, 1000
    tars.unpack(packed(locked, member("locked/file")), root)
    status = (root / "locked").stat()
    assert (stat.S_IMODE(status.st_mode), int(status.st_mtime)) == (0o555, 1000)


@needs_root
def test_a_layer_written_and_unpacked_is_what_it_was(root: Path, tmp_path: Path) -> None:
    upper, again = tmp_path / "upper", tmp_path / "again"
    tars.unpack(
        packed(
            directory("d"), member("d/.wh..wh..opq"), member("d/f"), member("d/g", tarfile.LNKTYPE, "d/f"),
            symlink("l", "/d/f"), member("p", tarfile.FIFOTYPE), member(".wh.gone"),
        ),
        upper_of(upper),
    )  # fmt: skip
    first, second = io.BytesIO(), io.BytesIO()
    tars.write_upper(upper, first)
    first.seek(0)
    tars.unpack(first, upper_of(again))
    tars.write_upper(again, second)
    assert first.getvalue() == second.getvalue()


def upper_of(path: Path) -> Path:
    path.mkdir()
    return path


def test_equal_entries_give_equal_bytes_whatever_their_order() -> None:
    entries = [tars.Entry("b", 0o644, content=b"b"), tars.Entry("a", 0o755, directory=True)]
    one, two = io.BytesIO(), io.BytesIO()
    tars.write_entries(entries, one)
    tars.write_entries(entries[::-1], two)
    assert one.getvalue() == two.getvalue()
