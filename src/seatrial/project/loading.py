"""From paths to a `System`: which files to read, which of their documents are Kubernetes objects, what they build.

Rules: a directory is read whole, without hidden entries, `target`, `node_modules` and Helm charts' templates; links are
followed, each directory once; what is no Kubernetes object is passed over, and so is a broken file that does not even
look like one; what has to be rendered first (Go templates, a Kustomization that changes what it lists) is a finding
that says how, and so is what cannot be read: with its place, never an exception. Paths are told relative to where the
command was run. Of text that Helm printed an object's place tells the template as well, by its comment `# Source:`.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from seatrial.check import edits, system
from seatrial.check.system import Entry, Finding, Place, System, Waiver
from seatrial.kube.objects import JsonObject
from seatrial.project import comments, documents, kustomizations

SIZE_LIMIT_BYTES = 16 * 1024 * 1024
"""An object in etcd is 1.5 MB at most; a file of 16 MiB is no manifest."""
SUFFIXES = frozenset((".yaml", ".yml", ".json"))
PASSED_OVER = frozenset(("target", "node_modules", "__pycache__"))
_TEMPLATE = re.compile(
    r"\{\{-?\s*(\.|\$|include\b|template\b|if\b|range\b|with\b|end\b|define\b|toYaml\b|default\b|/\*)"
)
"""What Go templates have and YAML does not."""
_SOURCE = re.compile(r"# Source: (\S+)")


def load(
    paths: Iterable[str | Path], version: str = "1.37", *, texts: Mapping[str, bytes] = MappingProxyType({})
) -> System:
    """The system that `paths` (directories, files, `-` for standard input) describe.

    `texts` stand for what is in some of the files, by the paths that places tell.
    """
    reader = _Reader(version, texts)
    for path in paths:
        if str(path) == "-":
            data = texts["-"] if "-" in texts else sys.stdin.buffer.read(SIZE_LIMIT_BYTES + 1)
            reader.text(data, "-", named=True)
        else:
            reader.path(Path(path))
    return System(version, tuple(reader.entries), tuple(reader.findings), reader.builds, tuple(reader.waivers))


class _Reader:
    def __init__(self, version: str, texts: Mapping[str, bytes]) -> None:
        self.version = version
        self.texts = texts
        self.entries: list[Entry] = []
        self.findings: list[Finding] = []
        self.builds: dict[str, str] = {}
        self.waivers: list[Waiver] = []
        self.kustomizations: list[kustomizations.Kustomization] = []

    def fail(self, file: str, message: str, line: int = 0, column: int = 0) -> None:
        self.findings.append(Finding(Place(file, line, column, ""), message, fatal=True))

    def path(self, path: Path) -> None:
        try:
            if path.is_dir():
                for file in self.without_rendered(list(self.files(path, set()))):
                    self.file(file, named=False)
            elif path.exists():
                self.file(path, named=True)
            else:
                self.fail(_shown(path), "no such file or directory; `seatrial check .` checks where you are")
        except OSError as error:
            self.fail(_shown(path), f"cannot be read: {error.strerror}")

    def files(self, directory: Path, seen: set[Path]) -> Iterator[Path]:
        try:
            real = directory.resolve()
            if real in seen:
                return
            seen.add(real)
            children = sorted(directory.iterdir())
        except (OSError, RuntimeError) as error:
            self.fail(_shown(directory), f"cannot be read: {getattr(error, 'strerror', None) or error}")
            return
        names = {child.name for child in children}
        for name in names & kustomizations.NAMES:
            if (found := kustomizations.read(directory / name)) is not None:
                self.kustomizations.append(found)
        if names & {"Dockerfile", "Cargo.toml"}:
            self.builds.setdefault(real.name, _shown(directory))
        for child in children:
            if child.name.startswith(".") or child.name in PASSED_OVER:
                continue
            try:
                if child.is_dir():
                    if not (child.name == "templates" and "Chart.yaml" in names):
                        yield from self.files(child, seen)
                elif child.suffix in SUFFIXES:
                    yield child
            except OSError as error:
                self.fail(_shown(child), f"cannot be read: {error.strerror}")

    def without_rendered(self, files: list[Path]) -> list[Path]:
        """The files that are applied as they are; each Kustomization that changes some says how to render it."""
        if not self.kustomizations:
            return files
        render, passed = kustomizations.outermost(self.kustomizations)
        self.kustomizations = []
        for each, changes in render:
            message = (
                f"changes what it lists ({', '.join(changes)}), so the files are not what is applied; check what it"
                f" makes: kubectl kustomize {_shown(each.file.parent)} | seatrial check -"
            )
            self.fail(_shown(each.file), message, each.line, 1)
        return [file for file in files if not passed.intersection((file.resolve(), *file.resolve().parents))]

    def file(self, path: Path, *, named: bool) -> None:
        shown = _shown(path)
        try:
            if not path.is_file():
                self.fail(shown, "is a broken link or no ordinary file")
                return
            size = path.stat().st_size
            if size > SIZE_LIMIT_BYTES:
                self.too_large(shown, size)
                return
            data = self.texts[shown] if shown in self.texts else path.read_bytes()
        except OSError as error:
            self.fail(shown, f"cannot be read: {error.strerror}")
            return
        self.text(data, shown, named=named)

    def too_large(self, file: str, size: int) -> None:
        limit = SIZE_LIMIT_BYTES // 1024 // 1024
        self.fail(file, f"has {size / 1024 / 1024:.0f} MiB, more than the {limit} MiB that a manifest may have")

    def text(self, data: bytes, file: str, *, named: bool) -> None:
        if len(data) > SIZE_LIMIT_BYTES:
            self.too_large(file, len(data))
            return
        if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.fail(file, f"is a binary file (a zero byte at offset {data.index(0)}), not YAML or JSON")
            return
        try:
            text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.fail(file, f"is not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start})", line)
            return
        if "\ufeff" in text:  # files that were put one after the other have each their own mark
            text = re.sub(r"(?m)^\ufeff", "", text)
        before = len(self.entries)
        try:
            for document in documents.parse(text):
                self.document(document, file, named=named)
        except documents.DocumentError as error:
            if _TEMPLATE.search(text):
                self.template(file, error.line, error.column)
            elif named or ("apiVersion" in text and "kind" in text):
                self.fail(file, str(error), error.line, error.column)
        sources = [(line, found[1]) for line, found in _sources(text)] if "# Source: " in text else []
        if sources:
            self.entries[before:] = [_from_helm(entry, sources) for entry in self.entries[before:]]
        for each in comments.waivers(text, file, self.entries[before:]):
            if isinstance(each, Finding):
                self.findings.append(each)
            else:
                self.waivers.append(each)

    def template(self, file: str, line: int, column: int) -> None:
        """A Go template: of a chart, which Helm renders, or of something else."""
        chart = next((each for each in Path(file).absolute().parents if (each / "Chart.yaml").is_file()), None)
        how = f"helm template {_shown(chart)} | seatrial check -" if chart else "what it renders can be checked"
        self.fail(file, f"is a Go template and no manifest yet; {how}", line, column)

    def document(self, document: documents.Document, file: str, *, named: bool) -> None:
        value = document.value
        if value is None:
            return
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or "apiVersion" not in value:
            if named:
                at = document.positions.get((), (1, 1))
                self.fail(file, "is no Kubernetes object: it needs `apiVersion` and `kind`", *at)
            return
        group = str(value["apiVersion"]).rpartition("/")[0]
        if group == "kustomize.config.k8s.io" or (not named and group and not edits.may_be_served(group)):
            return  # a file of another tool's
        for path, line, column in document.duplicates:
            message = f"the key {path[-1]!r} is set twice; the last one counts, and the other is lost without a word"
            self.findings.append(Finding(Place(file, line, column, system.dotted(path)), message))
        if value["kind"].endswith("List") and isinstance(value.get("items"), list):
            positions: dict[int | str, dict[system.Path, tuple[int, int]]] = {}
            for path, at in document.positions.items():
                if len(path) > 1 and path[0] == "items":
                    positions.setdefault(path[1], {})[path[2:]] = at
            for index, item in enumerate(value["items"]):
                if isinstance(item, dict):
                    self.object(item, file, positions.get(index, {}))
        else:
            self.object(value, file, document.positions)

    def object(self, raw: JsonObject, file: str, positions: Mapping[system.Path, tuple[int, int]]) -> None:
        api_version, kind = raw.get("apiVersion"), raw.get("kind")
        line, column = positions.get((), (0, 0))
        if not isinstance(api_version, str) or not isinstance(kind, str):
            self.fail(file, "an item of a List needs `apiVersion` and `kind`", line, column)
            return
        if not isinstance(raw.get("metadata", {}), dict):
            self.fail(file, f"`metadata` of this {kind} must be a mapping", line, column)
            return
        named = (raw.get("metadata") or {}).get("name")
        if isinstance(named, str) and _TEMPLATE.search(named):
            self.template(file, *positions.get(("metadata", "name"), (line, column)))
            return
        entry, problem = edits.entry(raw, self.version, file, positions)
        if problem:
            at = Place(file, line, column, "")
            self.findings.append(Finding(at, f"{kind} {entry.admitted['metadata'].get('name', '')}: {problem}"))
        self.entries.append(entry)


def _sources(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := _SOURCE.match(line):
            yield number, found


def _from_helm(entry: Entry, sources: list[tuple[int, str]]) -> Entry:
    """The entry with the template that Helm made it from: that of the last comment above it."""
    line = entry.positions.get((), (0, 0))[0]
    above = bisect_right(sources, line, key=lambda each: each[0])
    return replace(entry, template=sources[above - 1][1]) if above else entry


def _shown(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
