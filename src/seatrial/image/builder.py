"""A directory with a Dockerfile becomes an image: stages, steps, layers, and a cache of what steps gave.

Only the stages that the target needs are built. A step that changes files runs on an overlay of the layers so far,
and what it wrote becomes a layer; it is not run again while the layers below it, its text, its environment and the
content of the files it reads are the same. Times play no part: neither in that key nor in the layers.

There is no daemon and no registry: a base image is `scratch`, another stage, or an image of the store.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from seatrial.image import commands, copies, dockerfile, ignore, overlay, process, tars
from seatrial.image.dockerfile import Instruction, Stage
from seatrial.image.errors import BuildError, ImageError
from seatrial.image.store import Image, Layer, Store, chain_id

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EPOCH = "1970-01-01T00:00:00Z"
_CACHE_VERSION = 1
_EMPTY_LAYER = f"sha256:{hashlib.sha256(bytes(10240)).hexdigest()}"  # a tar archive without entries
_PROXIES = frozenset(
    name
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (proxy, proxy.lower())
)
_PORT = re.compile(r"(\d+)(-\d+)?(/(tcp|udp|sctp))?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_MOUNTS = {
    "bind": {"source", "from", "rw", "ro"},
    "cache": {"id", "sharing", "mode", "uid", "gid", "ro"},
    "tmpfs": {"size"},
}

Wire = dict[str, Any]
Action = Callable[[Path, Path], None]


def build(
    directory: Path,
    *,
    tag: str,
    store: Store,
    target: str = "",
    build_args: Mapping[str, str] = {},
    progress: Callable[[str], None] | None = None,
) -> Image:
    """The image that `directory` describes, kept in `store` under the name `tag`. Raises BuildError.

    A Dockerfile comes first; without one, a Rust project (Cargo.toml) becomes an image of its binary. `target` is
    the stage that is wanted, the last one if empty. `progress` gets a line for each step and what commands print.
    """
    directory = Path(directory)
    report = progress or (lambda line: None)
    try:
        with store.writing():
            if (directory / "Dockerfile").is_file():
                return _Build(directory, store, build_args, report).image(tag, target)
            if (directory / "Cargo.toml").is_file():
                from seatrial.image import cargo

                return cargo.build_image(directory, tag=tag, store=store, progress=progress)
    except BuildError:
        raise
    except ImageError as error:
        raise BuildError(error.message, hint=error.hint) from error
    except OSError as error:
        raise BuildError(
            f"building {directory} failed: {error}", hint="is the disk full, or the state directory not writable?"
        ) from error
    if not directory.is_dir():
        raise BuildError(f"the directory {directory} does not exist")
    raise BuildError(
        f"{directory} has neither a Dockerfile nor a Cargo.toml",
        hint="name the directory that has one, or write a Dockerfile",
    )


@dataclass(slots=True)
class _State:
    """An image while its stage is being built."""

    config: Wire
    layers: list[Layer] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)
    history: list[Wire] = field(default_factory=list)
    author: str = ""
    command_set: bool = False

    @property
    def env(self) -> dict[str, str]:
        pairs = (entry.partition("=") for entry in self.config.get("Env", ()))
        return {name: value for name, _, value in pairs}

    @property
    def values(self) -> dict[str, str]:
        """What variables stand for: ENV wins over ARG."""
        return {**self.arguments, **self.env}

    def set_env(self, name: str, value: str) -> None:
        self.config["Env"] = [f"{key}={text}" for key, text in {**self.env, name: value}.items()]

    @property
    def shell(self) -> list[str]:
        return list(self.config.get("Shell") or ["/bin/sh", "-c"])

    @property
    def workdir(self) -> str:
        return str(self.config.get("WorkingDir") or "/")

    def child(self) -> _State:
        """Where a stage FROM this one begins."""
        config = msgspec.json.decode(msgspec.json.encode(self.config))
        return _State(config, list(self.layers), dict(self.arguments), list(self.history), self.author)


def _architecture() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


class _Build:
    def __init__(
        self, directory: Path, store: Store, build_args: Mapping[str, str], report: Callable[[str], None]
    ) -> None:
        self.directory = directory
        self.store = store
        self.build_args = dict(build_args)
        self.report = report
        path = directory / "Dockerfile"
        try:
            text = path.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BuildError(f"{path}:1: the file is not UTF-8 text: {error}") from error
        self.file = dockerfile.parse(text, str(path))
        self.escape = self.file.escape
        self.ignore = ignore.read(directory)
        self.states: dict[int, _State] = {}
        self.declared: set[str] = set()
        self.globals = self._global_arguments()

    # Stages

    def image(self, tag: str, target: str) -> Image:
        stage = self._target(target)
        state = self.stage(stage)
        unused = sorted(set(self.build_args) - self.declared - _PROXIES)
        if unused:
            self.report(f"note: no stage that was built declares the build argument {', '.join(unused)} with ARG")
        raw: Wire = {
            "architecture": _architecture(),
            "os": "linux",
            "created": _EPOCH,
            "config": state.config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in state.layers]},
            "history": state.history,
        }
        if state.author:
            raw["author"] = state.author
        digest = self.store.put_image(raw, state.layers)
        self.store.tag(tag, digest)
        return self.store.image(digest)

    def _target(self, target: str) -> Stage:
        if not target:
            return self.file.stages[-1]
        for stage in self.file.stages:
            if target.lower() == stage.name or target == str(stage.index):
                return stage
        names = ", ".join(stage.name or str(stage.index) for stage in self.file.stages)
        raise BuildError(f"{self.file.file}:1: there is no stage {target!r}", hint=f"there are: {names}")

    def _global_arguments(self) -> dict[str, str]:
        architecture = _architecture()
        values = {"TARGETSTAGE": "default"}
        for side in ("TARGET", "BUILD"):
            values |= {f"{side}PLATFORM": f"linux/{architecture}", f"{side}OS": "linux", f"{side}ARCH": architecture}
            values |= {f"{side}VARIANT": ""}
        for instruction in self.file.arguments:
            values |= self._arguments(instruction, values, {})
        return values

    def _arguments(
        self, instruction: Instruction, values: Mapping[str, str], inherited: Mapping[str, str]
    ) -> dict[str, str]:
        """What an ARG instruction sets: the caller's value, the default, or that of before the first FROM."""
        expand = dockerfile.expanding(instruction, values, self.escape)
        found: dict[str, str] = {}
        for word in dockerfile.split(instruction.text, self.escape):
            name, equals, default = word.partition("=")
            name = expand(name)
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise instruction.wrong(f"{name!r} is no name for a variable", hint="write ARG name or ARG name=value")
            self.declared.add(name)
            if name in self.build_args:
                found[name] = self.build_args[name]
            elif equals:
                found[name] = expand(default)
            elif name in inherited:
                found[name] = inherited[name]
        return found

    def stage(self, stage: Stage) -> _State:
        if stage.index not in self.states:
            state = self._base(stage)
            if "PATH" not in state.env:
                state.set_env("PATH", _PATH)
            for number, instruction in enumerate(stage.instructions, 1):
                title = f"[{stage.title} {number}/{len(stage.instructions)}]"
                _Step(self, stage, state, instruction, title).perform()
            self.states[stage.index] = state
        return self.states[stage.index]

    def _base(self, stage: Stage) -> _State:
        start = stage.start
        expand = dockerfile.expanding(start, self.globals, self.escape)
        wanted = expand(start.flag("platform"))
        if wanted and wanted not in (here := f"linux/{_architecture()}", _architecture()):
            raise start.wrong(
                f"cannot build for {wanted} here", hint=f"this machine builds {here}; leave --platform out"
            )
        base = expand(stage.base)
        if not base:
            raise start.wrong(f"{stage.base!r} is empty", hint="give the ARG before the first FROM a default")
        if base == "scratch":
            return _State({})
        earlier = self._named(stage, base)
        if earlier is not None:
            return self.stage(earlier).child()
        image = self._stored(start, base)
        raw = image.raw_config
        config = dict(raw.get("config") or {})
        if config.get("OnBuild"):
            raise start.wrong(f"the image {base} has ONBUILD instructions, which are not supported")
        history = list(raw.get("history") or [])
        if sum(1 for entry in history if not entry.get("empty_layer")) != len(image.layers):
            history = [{"created": _EPOCH, "created_by": f"FROM {base}"} for _ in image.layers]
        return _State(config, list(image.layers), {}, history, str(raw.get("author") or ""))

    def _named(self, stage: Stage, name: str) -> Stage | None:
        for other in self.file.stages:
            if other.name == name.lower() and other.index < stage.index:
                return other
        return None

    def _stored(self, instruction: Instruction, name: str) -> Image:
        later = [stage.start.place for stage in self.file.stages if stage.name == name.lower()]
        if later:
            raise instruction.wrong(
                f"the stage {name!r} begins only at {later[0]}", hint="move it above the stage that uses it"
            )
        try:
            image = self.store.resolve(name)
            if image is None:
                raise self.store.unknown(name)
        except ImageError as error:
            raise instruction.wrong(
                error.message,
                hint=f"{error.hint}; `seatrial build` and `seatrial image import` add more, no registry is asked",
            ) from error
        return image

    def root(self, instruction: Instruction, stage: Stage, name: str) -> Sequence[Layer]:
        """The layers of what `--from` names: a stage by name or number, or an image."""
        if name.isdigit():
            if int(name) >= stage.index:
                raise instruction.wrong(f"there is no stage {name} before this one", hint="stages count from 0")
            return self.stage(self.file.stages[int(name)]).layers
        earlier = self._named(stage, name)
        return self.stage(earlier).layers if earlier is not None else self._stored(instruction, name).layers

    # Root file systems

    @contextmanager
    def mounted(self, layers: Sequence[Layer]) -> Iterator[tuple[Path, Path, Path]]:
        """The layers as a root file system that can be written: where it is seen, what was written, room for more."""
        if reason := commands.missing():
            raise BuildError(reason)
        directory = self.store.temporary()
        root, upper, work, empty, room = (directory / name for name in ("root", "upper", "work", "empty", "room"))
        for path in (root, upper, work, empty, room):
            path.mkdir()
            path.chmod(0o755)
        try:
            lower = [self.store.layer_directory(layer) for layer in layers]
            overlay.mount(lower or [empty], upper, work, root)
            try:
                yield root, upper, room
            finally:
                overlay.unmount(root)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def layer(self, key: Sequence[object], below: Sequence[Layer], action: Action) -> tuple[Layer, bool]:
        """What `action` writes on top of the layers `below`, and whether that was known already."""
        whole = msgspec.json.encode([_CACHE_VERSION, chain_id(below), *key])
        name = hashlib.sha256(whole).hexdigest()
        known = self.store.cached(name)
        if known is not None:
            return known, True
        with self.mounted(below) as (root, upper, room):
            action(root, room)
            with self.store.new_blob() as blob:
                tars.write_upper(upper, blob)  # type: ignore[arg-type]
        layer = Layer(blob.digest, blob.digest, blob.size)
        self.store.remember(name, layer)
        return layer, False


@dataclass(slots=True)
class _Step:
    """One instruction of a stage, which changes `state`."""

    build: _Build
    stage: Stage
    state: _State
    it: Instruction
    title: str

    def perform(self) -> None:
        before = len(self.state.history)
        {
            "ADD": self.copy, "ARG": self.arg, "CMD": self.cmd, "COPY": self.copy, "ENTRYPOINT": self.entrypoint,
            "ENV": self.env, "EXPOSE": self.expose, "HEALTHCHECK": self.healthcheck, "LABEL": self.label,
            "MAINTAINER": self.maintainer, "RUN": self.run, "SHELL": self.shell, "STOPSIGNAL": self.stopsignal,
            "USER": self.user, "VOLUME": self.volume, "WORKDIR": self.workdir,
        }[self.it.keyword]()  # fmt: skip
        if len(self.state.history) == before:
            self.remember(empty=True)

    def remember(self, *, empty: bool) -> None:
        entry: Wire = {"created": _EPOCH, "created_by": self.it.source}
        self.state.history.append({**entry, "empty_layer": True} if empty else entry)

    def word(self, text: str) -> str:
        return dockerfile.expanding(self.it, self.state.values, self.build.escape)(text)

    def words(self) -> list[str]:
        array = self.it.array()
        if array is not None:
            return [self.word(item) for item in array]
        try:
            return dockerfile.expand_words(self.it.text, self.state.values, self.build.escape)
        except ValueError as error:
            raise self.it.wrong(f"{self.it.text!r} cannot be expanded: {error}", hint=dockerfile.EXPANSIONS) from error

    # Steps that give a layer

    def add_layer(self, key: Sequence[object], action: Action) -> None:
        self.build.report(f"{self.title} {self.it.source}")
        layer, known = self.build.layer(key, self.state.layers, action)
        if known:
            self.build.report(f"{self.title} cached")
        empty = layer.diff_id == _EMPTY_LAYER
        if not empty:
            self.state.layers.append(layer)
        self.remember(empty=empty)

    def run(self) -> None:
        if self.it.flag("device"):
            raise self.it.wrong("--device is not supported", hint="commands of a build see no devices of the machine")
        if (security := self.it.flag("security", "sandbox")) != "sandbox":
            raise self.it.wrong(f"--security={security} is not supported", hint="commands run in a sandbox here")
        network = self.word(self.it.flag("network", "default"))
        if network not in ("default", "host", "none"):
            raise self.it.wrong(f"--network={network} is unknown", hint="there is default, host and none")
        values = self.state.values
        proxies = {name: value for name, value in self.build.build_args.items() if name in _PROXIES}
        user = str(self.state.config.get("User") or "")
        argv = self.run_argv()
        command = commands.Command(argv, {**proxies, **values}, user, self.state.workdir, network != "none")

        wanted = [self.mount_options(text) for name, text in self.it.flags if name == "mount"]
        with ExitStack() as stack:
            binds = {at: self.bound(stack, options) for at, options in enumerate(wanted) if options["type"] == "bind"}

            def action(root: Path, room: Path) -> None:
                mounts = [self.mount(stack, options, binds.get(at), room) for at, options in enumerate(wanted)]
                try:
                    commands.run(
                        command,
                        rootfs=root,
                        directory=room,
                        mounts=mounts,
                        on_line=lambda line: self.build.report(f"  {line}"),
                    )
                except process.CommandFailed as error:
                    raise self.failed(command, error) from error
                except BuildError as error:
                    raise self.it.wrong(error.message, hint=error.hint) from error

            read = [copies.digest(plan) for plan in binds.values()]
            key = ["RUN", argv, sorted(values.items()), user, self.state.workdir, network, wanted, read]
            self.add_layer(key, action)

    def mount_options(self, text: str) -> dict[str, str]:
        """What a --mount says, complete: `type`, `target` and what its type knows."""
        options: dict[str, str] = {}
        for part in self.word(text).split(","):
            name, equals, value = part.partition("=")
            name = {"dst": "target", "destination": "target", "src": "source", "readonly": "ro", "readwrite": "rw"}.get(
                name.strip().lower(), name.strip().lower()
            )
            options[name] = value if equals else "true"
        kind = options.setdefault("type", "bind")
        if kind not in _MOUNTS:
            raise self.it.wrong(
                f"--mount=type={kind} is not supported",
                hint="there is bind, cache and tmpfs; do what needs a secret outside of the build and COPY the result",
            )
        if unknown := sorted(set(options) - {"type", "target"} - _MOUNTS[kind]):
            raise self.it.wrong(
                f"--mount=type={kind} has no option {unknown[0]!r} here",
                hint=f"it has target, {', '.join(sorted(_MOUNTS[kind]))}",
            )
        target = posixpath.normpath(posixpath.join(self.state.workdir, options.get("target", "")))
        if not options.get("target") or target == "/":
            raise self.it.wrong("a mount needs a target other than /", hint=f"write --mount=type={kind},target=/place")
        if options.get("sharing", "locked") not in ("shared", "locked"):
            raise self.it.wrong("sharing=private is not supported", hint="locked lets one build in at a time")
        for name, pattern in {"uid": r"\d*", "gid": r"\d*", "mode": "[0-7]*"}.items():
            if not re.fullmatch(pattern, options.get(name, "")):
                raise self.it.wrong(f"{name}={options[name]} is no number", hint="write uid=1000,mode=0755")
        return {**options, "target": target}

    def bound(self, stack: ExitStack, options: Mapping[str, str]) -> copies.Copy:
        """The files that a bind mount shows, as something that could be copied."""
        other, source = options.get("from", ""), options.get("source", "/")
        root = stack.enter_context(self.source(other))
        try:
            chosen = copies.choose(root, [source], ignore.Ignore() if other else self.build.ignore)
        except ValueError as error:
            raise self.it.wrong(f"--mount: {error}", hint="paths are relative to the directory or stage") from error
        return copies.Copy(chosen, "/", None if other else (0, 0), "")

    def mount(
        self, stack: ExitStack, options: Mapping[str, str], bound: copies.Copy | None, room: Path
    ) -> commands.Mount:
        target, kind = options["target"], options["type"]
        if bound is not None:
            # A copy: the command may write to it, sees no ignored file, and cannot change the directory.
            [source] = bound.sources
            place = room / f"bind{hashlib.sha256(target.encode()).hexdigest()[:12]}"
            place.mkdir()
            copies.perform(bound, place)
            shown = place if source.path.is_dir() else place / source.path.name
            return commands.Mount(target, shown, options.get("rw", "false") == "false")
        if kind == "tmpfs":
            return commands.Mount(target, size=options.get("size", ""))
        owner = [options.get("id", target), *(options.get(name, "") for name in ("uid", "gid", "mode"))]
        name = hashlib.sha256(repr(owner).encode()).hexdigest()
        directory = stack.enter_context(self.build.store.shared_directory(name))
        os.chown(directory, int(options.get("uid") or 0), int(options.get("gid") or 0))
        directory.chmod(int(options.get("mode") or "755", 8))
        return commands.Mount(target, directory, options.get("ro", "false") != "false")

    def run_argv(self) -> tuple[str, ...]:
        array = self.it.array()
        if array is not None:
            return tuple(array)
        text, docs = self.it.text, self.it.heredocs
        if docs:
            if any(doc.content.startswith("#!") for doc in docs):
                raise self.it.wrong(
                    "a here-document with its own interpreter (#!) is not supported",
                    hint="COPY the script into the image and RUN it",
                )
            if len(docs) == 1 and text == docs[0].word:
                text = docs[0].content
            else:
                text = "\n".join([text, *(f"{doc.content}{doc.name}" for doc in docs)])
        return (*self.state.shell, text)

    def failed(self, command: commands.Command, error: process.CommandFailed) -> BuildError:
        lines = [
            f"{self.it.place}: RUN ended with code {error.code}; the command, to try it by hand in the image so far:",
            f"  {command.by_hand()}",
            *(f"  | {line}" for line in error.last_lines),
        ]
        hint = ""
        if any("exec:" in line and "no such file" in line for line in error.last_lines):
            hint = f"the image has no {command.argv[0]}; one FROM scratch is empty until something is copied into it"
        return BuildError("\n".join(lines), hint=hint)

    def copy(self) -> None:
        it = self.it
        for flag, hint in {
            "exclude": "name the files in .dockerignore",
            "parents": "write one COPY for each directory",
            "checksum": "COPY the file and RUN sha256sum -c",
            "keep-git-dir": "clone the repository first and COPY it",
            "unpack": "COPY the archive to keep it packed, ADD it to unpack it",
        }.items():
            if it.flag(flag):
                raise it.wrong(f"--{flag} is not supported", hint=hint)
        array = it.array()
        written = array if array is not None else it.text.split()
        if len(written) < 2:
            raise it.wrong("a source and a destination are needed", hint=f"write {it.keyword} file /place/")
        docs = {doc.word: doc for doc in it.heredocs}
        sources = [self.word(word) for word in written[:-1] if word not in docs]
        destination = self.word(written[-1])
        if len(written) > 2 and not destination.endswith("/"):
            raise it.wrong(
                f"there are {len(written) - 1} sources, so {destination!r} must be a directory",
                hint=f"write {destination}/",
            )
        if any(re.match(r"(https?|git|ssh)://|git@", source) for source in sources):
            raise it.wrong("nothing is fetched from the network", hint="RUN curl or git in a stage, and COPY --from it")
        slash = "/" if destination.endswith("/") or posixpath.basename(destination) in (".", "..") else ""
        destination = posixpath.normpath(posixpath.join(self.state.workdir, destination))
        destination = destination if destination == "/" else destination + slash
        other = it.flag("from")
        if "$" in other:
            raise it.wrong("--from cannot use variables", hint="give the stage its image: FROM $image AS name")
        owner, mode = self.word(it.flag("chown")), self.word(it.flag("chmod"))
        try:
            copies.changed(0, mode)
        except ValueError as error:
            raise it.wrong(f"--chmod={mode}: {error}", hint="write 0755, or u=rwX,go=rX") from error
        with self.source(other) as root:
            try:
                chosen = copies.choose(root, sources, ignore.Ignore() if other else self.build.ignore)
            except ValueError as error:
                where = f"in {other!r}" if other else f"in {self.build.directory}"
                raise it.wrong(f"{error} ({where})", hint="paths are relative to that root") from error
            if docs:
                directory = self.build.store.temporary()
                try:
                    self.copy_chosen((*chosen, *self.written(directory)), destination, owner, mode, other)
                finally:
                    shutil.rmtree(directory)
            else:
                self.copy_chosen(chosen, destination, owner, mode, other)

    def copy_chosen(
        self, sources: tuple[copies.Source, ...], destination: str, owner: str, mode: str, other: str
    ) -> None:
        links = self.it.flag("link") not in ("", "false")
        unpacks = self.it.keyword == "ADD"
        planned = copies.Copy(sources, destination, None if other and not owner else (0, 0), mode, unpacks)

        def action(root: Path, room: Path) -> None:
            try:
                plan = planned
                if owner:
                    who = commands.owner(root, owner)
                    plan = replace(
                        planned, owner=(who.uid, who.gid if ":" in owner or not owner.isdigit() else who.uid)
                    )
                if links and tars.resolve_in(root, destination) != root / destination.strip("/"):
                    raise ValueError(f"--link cannot copy through the symbolic link in {destination}")
                copies.perform(plan, root)
            except ValueError as error:
                raise self.it.wrong(str(error), hint="look at the destination and at the stage it is in") from error

        self.add_layer(["COPY", copies.digest(planned), owner, links], action)

    def written(self, directory: Path) -> Iterator[copies.Source]:
        for doc in self.it.heredocs:
            content = doc.content
            if doc.expands:
                content = dockerfile.expanding(self.it, self.state.values, self.build.escape, raw=True)(content)
            path = directory / doc.name
            path.write_text(content)
            path.chmod(0o644)
            yield copies.Source(directory, doc.name, ignore.Ignore())

    @contextmanager
    def source(self, other: str) -> Iterator[Path]:
        if not other:
            yield self.build.directory
            return
        layers = self.build.root(self.it, self.stage, other)
        with self.build.mounted(layers) as (root, _, _):
            yield root

    def workdir(self) -> None:
        path = posixpath.normpath(posixpath.join(self.state.workdir, self.word(self.it.text)))
        path = "/" + path.lstrip("/")
        self.state.config["WorkingDir"] = path
        user = str(self.state.config.get("User") or "")

        def action(root: Path, room: Path) -> None:
            target = tars.resolve_in(root, path)
            if target.is_dir():
                return
            try:
                who = commands.owner(root, user)
                copies.create(target, root, (who.uid, who.gid))
            except ValueError as error:
                raise self.it.wrong(str(error), hint="choose another directory or user") from error

        self.add_layer(["WORKDIR", path, user], action)

    # Steps that only describe

    def arg(self) -> None:
        self.state.arguments |= self.build._arguments(self.it, self.state.values, self.build.globals)

    def env(self) -> None:
        values = [(self.word(name), self.word(value)) for name, value in dockerfile.pairs(self.it, self.build.escape)]
        for name, value in values:
            self.state.set_env(name, value)

    def label(self) -> None:
        values = {self.word(name): self.word(value) for name, value in dockerfile.pairs(self.it, self.build.escape)}
        self.state.config["Labels"] = {**(self.state.config.get("Labels") or {}), **values}

    def argv(self) -> list[str]:
        array = self.it.array()
        return array if array is not None else [*self.state.shell, self.it.text] if self.it.text else []

    def cmd(self) -> None:
        self.state.config["Cmd"] = self.argv()
        self.state.command_set = True

    def entrypoint(self) -> None:
        self.state.config["Entrypoint"] = self.argv()
        if not self.state.command_set:
            self.state.config.pop("Cmd", None)

    def expose(self) -> None:
        ports = dict(self.state.config.get("ExposedPorts") or {})
        for word in self.words():
            found = _PORT.fullmatch(word)
            last = int(found[2][1:]) if found and found[2] else int(found[1]) if found else 0
            if found is None or not int(found[1]) <= last <= 65535:
                raise self.it.wrong(f"{word!r} is no port", hint="write 8080, 8080/udp or 8000-8010")
            for port in range(int(found[1]), last + 1):
                ports[f"{port}/{(found[4] or 'tcp').lower()}"] = {}
        self.state.config["ExposedPorts"] = dict(sorted(ports.items()))

    def volume(self) -> None:
        volumes: Wire = {name: {} for name in self.words()}
        self.state.config["Volumes"] = {**(self.state.config.get("Volumes") or {}), **volumes}

    def user(self) -> None:
        self.state.config["User"] = self.word(self.it.text)

    def shell(self) -> None:
        array = self.it.array()
        if not array:
            raise self.it.wrong("a JSON array is needed", hint='write SHELL ["/bin/bash", "-c"]')
        self.state.config["Shell"] = array

    def stopsignal(self) -> None:
        text = self.word(self.it.text)
        name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
        if not (text.isdigit() and 1 <= int(text) <= 64) and name not in signal.Signals.__members__:
            raise self.it.wrong(f"{text!r} is no signal", hint="write SIGTERM, or its number 15")
        self.state.config["StopSignal"] = text

    def maintainer(self) -> None:
        self.state.author = self.it.text

    def healthcheck(self) -> None:
        kind, _, rest = self.it.text.partition(" ")
        if kind.upper() == "NONE" and not rest.strip():
            self.state.config["Healthcheck"] = {"Test": ["NONE"]}
            return
        if kind.upper() != "CMD" or not rest.strip():
            raise self.it.wrong(
                f"{kind!r} is no kind of check", hint="write HEALTHCHECK CMD command, or HEALTHCHECK NONE"
            )
        array = replace(self.it, text=rest.strip()).array()
        check: Wire = {"Test": ["CMD", *array] if array is not None else ["CMD-SHELL", rest.strip()]}
        names = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
        for flag, name in {**names, "start-interval": "StartInterval"}.items():
            if text := self.word(self.it.flag(flag)):
                check[name] = self.duration(text)
        if retries := self.word(self.it.flag("retries")):
            if not retries.isdigit():
                raise self.it.wrong(f"--retries={retries} is no number", hint="write --retries=3")
            check["Retries"] = int(retries)
        self.state.config["Healthcheck"] = check

    def duration(self, text: str) -> int:
        parts = _DURATION.findall(text)
        value = sum(int(float(number) * _NANOSECONDS[unit]) for number, unit in parts)
        if text != "0" and ("".join(number + unit for number, unit in parts) != text or 0 < value < 10**6):
            raise self.it.wrong(f"{text!r} is no duration", hint="write 30s or 1m30s; 1ms is the shortest")
        return value
