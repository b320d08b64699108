"""`seatrial image` works on the state directory it is told, and says what went wrong."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from seatrial import cli


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"ahoy"))
    return tmp_path / "root.tar"


def seatrial(*words: object) -> int:
    return cli.main(["image", *map(str, words)])


def test_an_image_comes_in_is_listed_goes_out_and_is_removed(
    tmp_path: Path, rootfs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, archive = tmp_path / "state", tmp_path / "out.tar"
    assert seatrial("import", "--rootfs", rootfs, "--tag", "hello", "--state", state) == 0
    assert seatrial("export", "hello", archive, "--format", "docker", "--state", state) == 0
    assert seatrial("rm", "hello", "--state", state) == 0
    assert seatrial("import", archive, "--state", state) == 0
    capsys.readouterr()
    assert seatrial("list", "--state", state, "--output", "json") == 0
    (image,) = json.loads(capsys.readouterr().out)
    assert (image["name"], image["bytes"]) == ("hello:latest", 10240)
    assert seatrial("list", "--state", state) == 0
    assert capsys.readouterr().out.startswith("hello:latest  ")


def test_a_root_file_system_needs_a_name(tmp_path: Path, rootfs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seatrial("import", "--rootfs", rootfs, "--state", tmp_path / "state") == 2
    assert "--tag NAME" in capsys.readouterr().err


def test_a_mistake_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seatrial("rm", "gone", "--state", tmp_path / "state") == 1
    assert capsys.readouterr().err.startswith("seatrial: there is no image 'gone:latest'")
    assert seatrial("import", tmp_path / "gone.tar", "--state", tmp_path / "state") == 1
    assert "No such file" in capsys.readouterr().err
