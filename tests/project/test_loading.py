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


KUSTOMIZATION = "resources: [config.yaml]\nnamePrefix: prod-\n"


def test_a_kustomization_that_changes_what_it_lists_says_how_to_render_it(here: Path) -> None:
    for name in ("base", "prod"):
        (here / name).mkdir()
        (here / name / "config.yaml").write_text(CONFIG)
    (here / "base" / "kustomization.yaml").write_text("resources: [config.yaml]\n")
    (here / "prod" / "kustomization.yaml").write_text(KUSTOMIZATION)
    system = project.load(["."])
    assert [entry.file for entry in system.entries] == ["base/config.yaml"]
    (finding,) = system.unreadable
    assert (finding.place.file, finding.place.line) == ("prod/kustomization.yaml", 2)
    assert "kubectl kustomize prod | seatrial check -" in finding.message


def test_what_a_kustomization_takes_from_others_is_passed_over_with_it(here: Path) -> None:
    for name in ("base/patches", "prod", "other"):
        (here / name).mkdir(parents=True)
    for name in ("base/a.yaml", "base/patches/p.yaml", "other/c.yaml"):
        (here / name).write_text(CONFIG)
    (here / "base" / "kustomization.yaml").write_text("resources: [a.yaml]\npatches: [{path: patches/p.yaml}]\n")
    (here / "prod" / "kustomization.yaml").write_text("resources: [../base]\n")
    system = project.load(["."])
    assert [entry.file for entry in system.entries] == ["other/c.yaml"]
    (finding,) = system.unreadable
    assert finding.place.file == "prod/kustomization.yaml"
    assert "(patches)" in finding.message


@pytest.mark.parametrize(
    "text",
    ["a: {{ .Values.x }}\n", "{{- if .Values.on }}\na: 1\n", CONFIG.replace("settings", "'{{ .Release.Name }}'")],
)
def test_a_go_template_says_how_to_render_it(here: Path, text: str) -> None:
    (here / "shop" / "other").mkdir(parents=True)
    (here / "shop" / "Chart.yaml").touch()
    (here / "shop" / "other" / "web.yaml").write_text(text)
    (finding,) = project.load(["."]).unreadable
    assert "is a Go template" in finding.message
    assert "helm template shop | seatrial check -" in finding.message


def test_templates_in_the_data_of_an_object_are_its_own(here: Path) -> None:
    (here / "a.yaml").write_text(CONFIG.replace("a: b", "a: '{{ .Values.x }}'"))
    system = project.load(["."])
    assert (len(system.entries), system.unreadable) == (1, ())


def test_a_place_tells_the_template_that_helm_made_it_from(here: Path) -> None:
    parts = [f"---\n# Source: shop/templates/{name}.yaml\n{CONFIG.replace('settings', name)}" for name in ("a", "b")]
    (here / "all.yaml").write_text("".join(parts))
    places = [entry.place("data", "a") for entry in project.load(["all.yaml"]).entries]
    assert [str(place) for place in places] == [
        "all.yaml:8 (shop/templates/a.yaml)",
        "all.yaml:16 (shop/templates/b.yaml)",
    ]


@pytest.mark.parametrize("text", ["a: [1\n", '{"a": 1}\n{"a": 2}\n', "apiVersion: skaffold/v2\nkind: Config\n"])
def test_files_of_other_tools_are_passed_over_but_not_if_they_are_named(here: Path, text: str) -> None:
    (here / "a.yaml").write_text(text)
    assert project.load(["."]).unreadable == ()
    assert project.load(["."]).entries == ()
    system = project.load(["a.yaml"])
    assert system.unreadable or system.entries


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_byte_order_marks_of_windows(here: Path, end: str) -> None:
    text = ("\ufeff" + CONFIG).replace("\n", end)
    (here / "a.yaml").write_bytes(f"{text}---{end}{text}".encode())
    system = project.load(["a.yaml"])
    assert system.unreadable == ()
    assert [entry.place("data", "a").line for entry in system.entries] == [6, 13]


def test_what_can_be_read_is_read_beside_what_cannot(here: Path) -> None:
    bomb = "kind: x\napiVersion: v1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    for name, data in {
        "bomb.yaml": bomb.encode(),
        "bytes.yaml": b"apiVersion: v1\nkind: \xff\xfe\n",
        "tab.yaml": b"apiVersion: v1\nkind:\n\tx: 1\n",
        "good.yaml": CONFIG.encode(),
    }.items():
        (here / name).write_bytes(data)
    with (here / "huge.yaml").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    (here / "loop.yaml").symlink_to(here / "loop.yaml")
    system = project.load(["."])
    assert [entry.file for entry in system.entries] == ["good.yaml"]
    found = {finding.place.file: finding.message for finding in system.unreadable}
    assert len(found) == len(system.unreadable) == 5
    for name, words in {
        "bomb.yaml": "alias bomb",
        "bytes.yaml": "not UTF-8",
        "tab.yaml": "tab",
        "huge.yaml": "100 MiB",
        "loop.yaml": "broken link",
    }.items():
        assert words in found[name]


def test_a_list_of_a_thousand_objects_keeps_every_place(here: Path) -> None:
    items = "".join(f"  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {{name: c{n}}}\n" for n in range(1000))
    (here / "list.yaml").write_text(f"apiVersion: v1\nkind: List\nitems:\n{items}")
    entries = project.load(["list.yaml"]).entries
    assert [entry.place("metadata", "name").line for entry in entries] == [6 + 3 * n for n in range(1000)]
