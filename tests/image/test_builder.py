"""Images are built for real: runc, overlayfs, and a root file system made of the static busybox of this machine."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from seatrial import image
from seatrial.image import copies

pytestmark = pytest.mark.privileged

BUSYBOX = "FROM scratch AS base\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"


class Bench:
    """A directory to build, a store, and the lines of the last build."""

    def __init__(self, path: Path) -> None:
        self.context = path / "context"
        self.context.mkdir()
        self.store = image.Store(path / "images")
        self.lines: list[str] = []

    def write(self, name: str, content: str) -> Path:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def build(self, text: str, *, target: str = "", **arguments: str) -> image.Image:
        self.write("Dockerfile", text)
        if not (self.context / "busybox").exists():
            shutil.copy("/bin/busybox", self.context / "busybox")
        self.lines = []
        return image.build(
            self.context, tag="test", store=self.store, target=target, build_args=arguments, progress=self.lines.append
        )

    def fails(self, text: str) -> str:
        with pytest.raises(image.BuildError) as caught:
            self.build(text)
        return str(caught.value).replace(f"{self.context}/", "")

    def entries(self, built: image.Image) -> dict[str, tarfile.TarInfo]:
        """Every entry of every layer, as it is in the archives."""
        found: dict[str, tarfile.TarInfo] = {}
        for layer in built.layers:
            with tarfile.open(self.store.blob_path(layer.digest)) as tar:
                found |= {member.name: member for member in tar}
        return found

    def content(self, built: image.Image, name: str) -> str:
        for layer in reversed(built.layers):
            with tarfile.open(self.store.blob_path(layer.digest)) as tar:
                if name in tar.getnames():
                    file = tar.extractfile(name)
                    assert file is not None
                    return file.read().decode()
        raise AssertionError(f"{name} is in no layer")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_run_changes_become_a_layer_without_a_trace_of_what_was_mounted(bench: Bench) -> None:
    built = bench.build(
        BUSYBOX + 'ENV WHO=world\nWORKDIR /srv\nRUN echo "hello $WHO" > greeting && /bin/busybox pwd >> greeting\n'
    )
    assert bench.content(built, "srv/greeting") == "hello world\n/srv\n"
    assert set(bench.entries(built)) - {"etc"} == {"bin", "bin/busybox", "bin/sh", "srv", "srv/greeting"}
    assert bench.store.resolve("test") == built


def test_the_second_build_runs_nothing_and_gives_the_same_image(bench: Bench) -> None:
    text = BUSYBOX + "COPY note /note\nRUN /bin/busybox cat /note /proc/uptime > /out\n"
    bench.write("note", "one")
    first = bench.build(text)
    (bench.context / "note").touch()
    assert bench.build(text) == first
    assert sum(line.endswith(" cached") for line in bench.lines) == 4
    bench.write("note", "two")
    assert bench.build(text).digest != first.digest
    assert sum(line.endswith(" cached") for line in bench.lines) == 2


def test_equal_files_give_equal_images_in_another_store_at_another_time(bench: Bench, tmp_path: Path) -> None:
    first = bench.build("FROM scratch\nCOPY busybox /bin/\nWORKDIR /srv\n")
    (bench.context / "busybox").touch()
    bench.store = image.Store(tmp_path / "other")
    assert bench.build("FROM scratch\nCOPY busybox /bin/\nWORKDIR /srv\n").digest == first.digest


def test_a_build_argument_is_part_of_what_a_command_depends_on(bench: Bench) -> None:
    text = "ARG GLOBAL=g\n" + BUSYBOX + "ARG GLOBAL\nARG V=1\nRUN echo $V $GLOBAL > /v\n"
    assert bench.content(bench.build(text), "v") == "1 g\n"
    assert bench.content(bench.build(text, V="2"), "v") == "2 g\n"


def test_only_the_stages_that_are_needed_are_built(bench: Bench) -> None:
    built = bench.build(
        BUSYBOX
        + "FROM base AS broken\nRUN /bin/busybox false\n"
        + "FROM base AS made\nRUN /bin/busybox mkdir -p /out/lib && echo data > /out/lib/data"
        + " && /bin/busybox chown 7:8 /out/lib/data && /bin/busybox ln -s data /out/lib/link\n"
        + "FROM scratch\nCOPY --from=made /out/ /\nCOPY --from=1 /bin/busybo[x] /copied/\n".replace(
            "--from=1", "--from=base"
        )
    )
    entries = bench.entries(built)
    assert set(entries) == {"lib", "lib/data", "lib/link", "copied", "copied/busybox"}
    assert (entries["lib/data"].uid, entries["lib/data"].gid, entries["lib/link"].linkname) == (7, 8, "data")
    assert not any("broken" in line for line in bench.lines)
    assert "bin/sh" in bench.entries(bench.build((bench.context / "Dockerfile").read_text(), target="base"))


def test_the_directory_is_copied_without_what_dockerignore_names(bench: Bench) -> None:
    bench.write(".dockerignore", "busybox\ntarget\n*.md\n!README.md\n")
    for name in ("src/main.rs", "target/debug/x", "NOTES.md", "README.md"):
        bench.write(name, name)
    built = bench.build("FROM scratch\nCOPY . /app/\n")
    files = {name for name, entry in bench.entries(built).items() if entry.isfile()}
    assert files == {"app/.dockerignore", "app/Dockerfile", "app/README.md", "app/src/main.rs"}
    assert "is left out by .dockerignore" in bench.fails("FROM scratch\nCOPY NOTES.md /\n")


def test_owner_and_mode_of_copies(bench: Bench) -> None:
    bench.write("passwd", "web:x:101:102::/:/bin/sh\n").chmod(0o600)
    built = bench.build(
        "FROM scratch\nCOPY --chmod=u=rw,go=r passwd /etc/passwd\nCOPY --chown=web passwd /a\n"
        "COPY --chown=5 --chmod=0750 passwd /b/\n"
    )
    found = {name: (e.uid, e.gid, oct(e.mode)) for name, e in bench.entries(built).items() if e.isfile()}
    assert found == {"etc/passwd": (0, 0, "0o644"), "a": (101, 102, "0o600"), "b/passwd": (5, 5, "0o750")}


def test_add_unpacks_an_archive_and_copy_does_not(bench: Bench) -> None:
    with tarfile.open(bench.context / "files.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("dir/file")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"hi"))
    assert bench.content(bench.build("FROM scratch\nADD files.tar.gz /x/\n"), "x/dir/file") == "hi"
    assert "x/files.tar.gz" in bench.entries(bench.build("FROM scratch\nCOPY files.tar.gz /x/\n"))


def test_here_documents(bench: Bench) -> None:
    built = bench.build(
        BUSYBOX + 'ENV A=1\nCOPY <<EOF /conf\na="$A"\nEOF\nRUN <<EOF\nx=$(echo 2)\necho $x > /run.txt\nEOF\n'
    )
    assert bench.content(built, "conf") == 'a="1"\n'
    assert bench.content(built, "run.txt") == "2\n"


def test_what_describes_the_image(bench: Bench) -> None:
    built = bench.build(
        'FROM scratch\nENV a=1 b=$a\nENV c two words\nLABEL x="y z"\nUSER 999:999\nWORKDIR /srv\nWORKDIR data\n'
        'EXPOSE 6379 8000-8001/udp\nENTRYPOINT ["/bin/x"]\nCMD ["--flag"]\nSTOPSIGNAL sigint\nVOLUME /v\n'
        "HEALTHCHECK --interval=1m30s --retries=2 CMD curl x\n"
    )
    config = built.config
    assert config.env[1:] == ("a=1", "b=", "c=two words")
    assert config.env[0].startswith("PATH=/usr/local/sbin:")
    assert (config.entrypoint, config.cmd, config.user) == (("/bin/x",), ("--flag",), "999:999")
    assert (config.workdir, config.labels, config.stop_signal) == ("/srv/data", {"x": "y z"}, "sigint")
    assert config.exposed_ports == ("6379/tcp", "8000/udp", "8001/udp")
    check = built.raw_config["config"]["Healthcheck"]
    assert check == {"Test": ["CMD-SHELL", "curl x"], "Interval": 90 * 10**9, "Retries": 2}


def test_a_command_that_fails_is_shown_with_its_place_and_its_last_words(bench: Bench) -> None:
    message = bench.fails(BUSYBOX + "WORKDIR /srv\nRUN echo first >&2 && \\\n  echo last words >&2 && exit 3\n")
    assert message == (
        "Dockerfile:5: RUN ended with code 3; the command, to try it by hand in the image so far:\n"
        "  cd /srv && /bin/sh -c 'echo first >&2 &&   echo last words >&2 && exit 3'\n"
        "  | first\n"
        "  | last words"
    )
    assert "the image has no /bin/sh" in bench.fails("FROM scratch\nRUN true\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM debian:none\n", "Dockerfile:1: FROM: there is no image 'debian:none'"),
        ("FROM scratch\nCOPY nothing /\n", "Dockerfile:2: COPY: 'nothing' is not there"),
        ("FROM scratch\nCOPY ../../etc/passwd /\n", "Dockerfile:2: COPY: '../../etc/passwd' is not there"),
        ("FROM scratch\nCOPY busybox Dockerfile /x\n", "Dockerfile:2: COPY: there are 2 sources"),
        ("FROM scratch\nADD https://example.com/x /\n", "Dockerfile:2: ADD: nothing is fetched from the network"),
        ("FROM scratch\nRUN --mount=type=secret,id=x true\n", "Dockerfile:2: RUN: --mount=type=secret is not"),
        ("FROM scratch\nRUN --mount=type=tmpfs,size=1m true\n", "Dockerfile:2: RUN: a mount needs a target"),
        ("FROM scratch\nEXPOSE 80000\n", "Dockerfile:2: EXPOSE: '80000' is no port"),
        ("FROM scratch\nSTOPSIGNAL nope\n", "Dockerfile:2: STOPSIGNAL: 'nope' is no signal"),
        ("FROM scratch\nENV ${a:?needed}=1\n", "Dockerfile:2: ENV: "),
        ("FROM scratch\nCOPY --chown=web busybox /\n", "Dockerfile:2: COPY: there is no user 'web'"),
        ("FROM scratch\nCOPY busybox /x/y\nCOPY busybox /x/y/z\n", "Dockerfile:3: COPY: /x/y is not a directory"),
    ],
)
def test_what_cannot_be_built_is_refused_with_its_line_and_a_hint(bench: Bench, text: str, message: str) -> None:
    found = bench.fails(text)
    assert found.startswith(message)
    assert "\n  hint: " in found


def test_mounts_are_seen_by_the_command_and_are_not_in_the_layer(bench: Bench) -> None:
    bench.write("src/note", "one")
    bench.write(".dockerignore", "src/secret\n")
    bench.write("src/secret", "x")
    text = BUSYBOX + (
        "FROM base\nARG N=1\nRUN --mount=type=cache,id=c,target=/kept --mount=target=/src,source=src"
        " --mount=type=bind,from=base,source=/bin,target=/tools --mount=type=tmpfs,target=/scratch"
        " echo $N >> /kept/runs && echo x > /scratch/x && /tools/busybox cat /kept/runs /src/* > /out\n"
    )
    built = bench.build(text)
    assert bench.content(built, "out") == "1\none"
    assert set(bench.entries(built)) - {"etc"} == {"bin", "bin/busybox", "bin/sh", "out"}
    assert bench.content(bench.build(text, N="2"), "out") == "1\n2\none"
    bench.write("src/note", "two")
    assert bench.content(bench.build(text, N="2"), "out") == "1\n2\n2\ntwo"


def test_a_stage_cannot_use_a_later_one(bench: Bench) -> None:
    text = "FROM scratch AS first\nCOPY --from=later /x /\nFROM scratch AS later\n"
    assert bench.build(text).layers == ()
    with pytest.raises(image.BuildError, match=r"Dockerfile:2: COPY: the stage 'later' begins only at .*Dockerfile:3"):
        bench.build(text, target="first")


def test_an_image_of_the_store_is_a_base(bench: Bench) -> None:
    first = bench.build(BUSYBOX + 'ENV A=1\nENTRYPOINT ["/bin/sh"]\nCMD ["-x"]\n')
    bench.store.tag("tools:1", first.digest)
    built = bench.build('FROM tools:1\nRUN /bin/busybox rm /bin/sh\nENTRYPOINT ["/bin/busybox"]\n')
    assert built.layers[: len(first.layers)] == first.layers
    assert "bin/.wh.sh" in bench.entries(built)
    assert (built.config.entrypoint, built.config.cmd) == (("/bin/busybox",), ())


def test_removing_an_image_leaves_what_a_build_is_writing(bench: Bench) -> None:
    bench.build("FROM scratch\nCOPY busybox /\n")
    with bench.store.writing():
        digest = bench.store.put(b"of a build that is under way")
        bench.store.remove("test")
        assert bench.store.has(digest)


@pytest.mark.parametrize(
    ("mode", "change", "expected"),
    [(0o100644, "0755", 0o755), (0o100644, "u=rwX,go=rX", 0o644), (0o040700, "u=rwX,go=rX", 0o755),
     (0o100644, "+x", 0o755), (0o100777, "go-w", 0o755), (0o100755, "u+s", 0o4755)],
)  # fmt: skip
def test_modes(mode: int, change: str, expected: int) -> None:
    assert copies.changed(mode, change) == expected
