"""The control process may die between the look whether it runs and the request: that is a message, not a traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from seatrial import cli
from seatrial.cluster import process
from seatrial.server.pki import Pki


@pytest.mark.parametrize("words", [["status"], ["logs", "web"]])
def test_a_verb_that_finds_nobody_says_so(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    Pki.ensure(tmp_path / "pki").write_kubeconfig(process.kubeconfig(tmp_path), f"https://127.0.0.1:{port}")
    monkeypatch.setattr(process, "ready", lambda _: True)
    assert cli.main([*words, "--state", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("seatrial: ")
    assert "`seatrial up` starts the cluster anew" in said
