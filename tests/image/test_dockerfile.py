"""Dockerfiles are read as BuildKit reads them, and what cannot be done is refused with its place and a way round it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seatrial.image import BuildError, dockerfile, ignore

VALUES = {"name": "web", "empty": "", "path": "/usr/local/bin/tool.tar.gz", "list": "80 443"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$name", "web"),
        ("${name}s", "webs"),
        ("$unset", ""),
        ("${unset:-x}", "x"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${unset-x}", "x"),
        ("${name:+x}", "x"),
        ("${empty:+x}", ""),
        ("${empty+x}", "x"),
        ("${unset:-${name}}", "web"),
        (r"\$name", "$name"),
        ("'$name'", "$name"),
        ('"$name is"', "web is"),
        (r'"\$name \n"', r"$name \n"),
        ("${path##*/}", "tool.tar.gz"),
        ("${path#*/}", "usr/local/bin/tool.tar.gz"),
        ("${path%.*}", "/usr/local/bin/tool.tar"),
        ("${path%%.*}", "/usr/local/bin/tool"),
        ("${path/local/share}", "/usr/share/bin/tool.tar.gz"),
        ("${path//o/0}", "/usr/l0cal/bin/t00l.tar.gz"),
        ("$1$@", ""),
        ("a$", "a$"),
    ],
)
def test_variables_expand_as_in_a_shell(text: str, expected: str) -> None:
    assert dockerfile.expand(text, VALUES) == expected


@pytest.mark.parametrize("text", ["${name", "'open", '"open', "${unset:?is needed}", "${name:#x}", "${}"])
def test_an_expansion_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        dockerfile.expand(text, VALUES)


def test_only_unquoted_variables_are_split_into_words() -> None:
    assert dockerfile.expand_words('$list "$list" 1', VALUES) == ["80", "443", "80 443", "1"]


def test_here_documents_keep_their_quotes() -> None:
    assert dockerfile.expand('it\'s "$name" \\$name\n', VALUES, raw=True) == 'it\'s "web" $name\n'


def test_lines_are_continued_across_comments_and_blank_lines() -> None:
    file = dockerfile.parse("FROM scratch\nRUN a \\  \n# no\n\n  && b # yes\ncmd c\\\\\nUSER 1\n")
    assert [(it.keyword, it.text, it.place) for it in file.stages[0].instructions] == [
        ("RUN", "a   && b # yes", "Dockerfile:2"),
        ("CMD", "c\\\\", "Dockerfile:6"),
        ("USER", "1", "Dockerfile:7"),
    ]


def test_the_escape_character_can_be_a_backtick() -> None:
    file = dockerfile.parse("# escape=`\nFROM scratch\nRUN a `\n b\\\n")
    assert [it.text for it in file.stages[0].instructions] == ["a  b\\"]


def test_flags_end_at_a_double_dash_and_stages_have_names() -> None:
    file = dockerfile.parse("ARG V=1\nFROM base:$V AS Tools\nFROM Tools\nCOPY --from=x --chmod=755 -- --a /b\n")
    assert [(stage.base, stage.name) for stage in file.stages] == [("base:$V", "tools"), ("Tools", "")]
    copy = file.stages[1].instructions[0]
    assert (copy.flags, copy.text) == ((("from", "x"), ("chmod", "755")), "--a /b")


def test_a_here_document_belongs_to_its_instruction() -> None:
    file = dockerfile.parse("FROM scratch\nCOPY <<A <<-'B' /d/\n$x\nA\n\ttabbed\n\tB\nUSER 1\n")
    copy, user = file.stages[0].instructions
    assert [(doc.name, doc.content, doc.expands) for doc in copy.heredocs] == [
        ("A", "$x\n", True),
        ("B", "tabbed\n", False),
    ]
    assert user.place == "Dockerfile:7"


def test_an_array_that_is_not_json_is_the_shell_form() -> None:
    file = dockerfile.parse('FROM scratch\nCMD [\'a\']\nCMD ["a", "b"]\n')
    assert [it.array() for it in file.stages[0].instructions] == [None, ["a", "b"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Dockerfile:1: the file has no FROM"),
        ("FROM scratch\nRUNN x\n", "Dockerfile:2: 'RUNN' is not an instruction\n  hint: did you mean RUN?"),
        ("RUN x\n", "Dockerfile:1: RUN: no stage has begun"),
        ("FROM scratch\n\nCOPY --form=a b c\n", "Dockerfile:3: COPY has no flag --form\n  hint: did you mean --from?"),
        ("FROM scratch\nCOPY <<EOF /x\nabc\n", "Dockerfile:2: the here-document 'EOF' does not end"),
        ("FROM scratch AS 1a\n", "Dockerfile:1: FROM: '1a' is no name for a stage"),
        ("FROM scratch AS a\nFROM scratch AS A\n", "Dockerfile:2: FROM: there is a stage 'a' already"),
        ("FROM scratch\nONBUILD RUN x\n", "Dockerfile:2: ONBUILD is not supported"),
        ("#syntax=example/other\nFROM scratch\n", "Dockerfile:1: the frontend 'example/other' cannot be used"),
        ("FROM a b\n", "Dockerfile:1: FROM: cannot read 'a b'"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line_and_a_hint(text: str, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        dockerfile.parse(text)
    assert str(caught.value).startswith(message)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("rules", "ignored", "seen"),
    [
        ("target\n", ["target", "target/debug/x"], ["src/target", "targets"]),
        ("**/target\n", ["target/x", "a/b/target/x"], ["a/targets"]),
        ("*.md\n!README.md\n", ["NOTES.md"], ["README.md", "docs/a.md"]),
        ("/docs/*\n!docs/keep\n", ["docs/a"], ["docs/keep", "docs/keep/b", "docs"]),
        ("# note\n\n  ./a/../b  \n", ["b"], ["a", "# note"]),
        ("a?[0-9]\n", ["ab1"], ["a/1", "abc"]),
        ("!x\nx\n", ["x"], []),
        ("a/**\n", ["a/b/c"], ["b"]),
    ],
)
def test_dockerignore(rules: str, ignored: list[str], seen: list[str]) -> None:
    found = ignore.parse(rules)
    assert [path for path in ignored + seen if found.ignores(path)] == ignored


def test_a_lone_exclamation_mark_is_refused() -> None:
    with pytest.raises(BuildError, match=r"\.dockerignore:2: a lone '!'"):
        ignore.parse("a\n!\n")


PIECES = st.sampled_from(
    ["FROM scratch", "RUN", "COPY", "ENV", " ", "\n", "\\", "\\\n", "<<A", "A", "--from=", "--", "$", "${", "}", ":-",
     "#", "%%", "/", "'", '"', "[", '"]', "x", "=", "\t", "`", "# escape=`\n", "**", "!", "é"]
)  # fmt: skip


@example('[FROM scratch--from="]')
@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (dockerfile.parse, ignore.parse):
        try:
            read(text)
        except BuildError as error:
            assert "file:" in str(error) or "ignore:" in str(error)  # noqa: PT017 - either outcome is right
    try:
        dockerfile.expand_words(text, VALUES)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
