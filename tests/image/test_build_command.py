"""`seatrial build`: what it prints and how it ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seatrial.cli import main


@pytest.mark.privileged
def test_the_image_is_named_after_its_directory_and_kept_below_the_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = tmp_path / "web"
    context.mkdir()
    shutil.copy("/bin/busybox", context / "busybox")
    (context / "Dockerfile").write_text("FROM scratch\nARG NAME\nCOPY busybox /bin/$NAME\n")
    assert main(["build", str(context), "--build-arg", "NAME=sh", "--state", str(tmp_path / "state")]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("web  sha256:")
    assert printed.out.endswith(" MB in 1 layers\n")
    assert printed.err == "[stage 0 2/2] COPY busybox /bin/$NAME\n"
    assert (tmp_path / "state/images/index.json").exists()


def test_a_directory_without_anything_to_build_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(tmp_path), "--state", str(tmp_path / "state")]) == 1
    assert "has neither a Dockerfile nor a Cargo.toml\n  hint: " in capsys.readouterr().err


def test_a_build_argument_without_value_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(tmp_path), "--build-arg", "A", "--state", str(tmp_path / "state")]) == 3
    assert "write NAME=VALUE" in capsys.readouterr().err
