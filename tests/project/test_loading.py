"""Reading directories as people have them, and as nobody should."""

from __future__ import annotations

from pathlib import Path

import pytest

from seatrial import project

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  a: b\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_object_comes_with_namespace_file_and_line(here: Path) -> None:
    (here / "a.yaml").write_text("# first\n---\n" + CONFIG)
    (entry,) = project.load(["a.yaml"]).entries
    assert str(entry.key) == "ConfigMap default/settings"
    assert str(entry.place("data", "a")) == "a.yaml:8"
    assert str(entry.place("data", "missing")) == "a.yaml:7"


def test_a_directory_is_read_without_what_is_hidden_built_or_no_object(here: Path) -> None:
    for name in (".git", "target", "node_modules", "deploy"):
        (here / name).mkdir()
        (here / name / "a.yaml").write_text(CONFIG)
    (here / "compose.yaml").write_text("services: {web: {}}\n")
    (here / "notes.txt").write_text("kind: nothing")
    assert [entry.file for entry in project.load(["."]).entries] == ["deploy/a.yaml"]


def test_a_list_is_its_items_with_their_places(here: Path) -> None:
    items = "".join(f"  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {{name: c{n}}}\n" for n in range(2))
    (here / "list.yaml").write_text(f"apiVersion: v1\nkind: List\nitems:\n{items}")
    system = project.load(["list.yaml"])
    assert [entry.place("metadata").line for entry in system.entries] == [6, 9]


def test_build_contexts_are_found(here: Path) -> None:
    for name, file in (("web", "Cargo.toml"), ("store", "Dockerfile")):
        (here / name).mkdir()
        (here / name / file).touch()
    assert project.load(["."]).builds == {"web": "web", "store": "store"}


def test_a_duplicate_key_is_a_finding_that_leaves_the_file_readable(here: Path) -> None:
    (here / "a.yaml").write_text(CONFIG + "  a: c\n")
    system = project.load(["a.yaml"])
    (finding,) = system.findings
    assert (finding.fatal, finding.place.line, finding.place.path) == (False, 7, "data.a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0", "binary"),
        (b"a: \xff\xfe\n", "UTF-8"),
        (b"a:\n\tb: 1\n", "tab"),
        (b"just: text\n", "no Kubernetes object"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: 3\n", "mapping"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_finding(here: Path, content: bytes, message: str) -> None:
    (here / "a.yaml").write_bytes(content)
    (finding,) = project.load(["a.yaml"]).unreadable
    assert message in finding.message


def test_a_huge_file_is_refused_by_its_size(here: Path) -> None:
    with (here / "a.yaml").open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    (finding,) = project.load(["a.yaml"]).unreadable
    assert "50 MiB" in finding.message


def test_a_missing_path_is_a_finding() -> None:
    (finding,) = project.load(["nowhere"]).unreadable
    assert "no such file" in finding.message


def test_links_in_a_circle_end(here: Path) -> None:
    (here / "a").mkdir()
    (here / "a" / "again").symlink_to(here)
    (here / "loop.yaml").symlink_to(here / "loop.yaml")
    (here / "a" / "c.yaml").write_text(CONFIG)
    system = project.load(["."])
    assert [entry.file for entry in system.entries] == ["a/c.yaml"]
    assert [finding.place.file for finding in system.unreadable] == ["loop.yaml"]
