"""Values in commands: a file name is data, never shell (SEMANTICS 3.3). bash itself is the judge."""

import re
import subprocess

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from torcd.core.quoting import Around, quote, substitute
from torcd.protocol.errors import Refused

VARIABLE = re.compile(r"\$\{(?:files)\.(?:input)\.([^{}]+)\}")
X = "${files.input.x}"

ONE_WORD = (
    f"{X}", f'"{X}"', f"'{X}'", f"$'{X}'", f'$"{X}"', f'"$(printf %s {X})"', f'"$(printf %s "{X}")"', f"''{X}''",
    f'"$(printf %s \'{X}\')"', f"${{unset:-{X}}}",
)  # fmt: skip
"""Arguments that mean the value and nothing else, unless it ends in what a substitution takes away."""

NASTY = (
    "a b", "$(echo pwned)", "`echo pwned`", "a'b", 'a"b', "a\\b", "a;echo pwned", "a&b", "a|b", "a>b", "*", "?",
    "[a]", "~", "a\nb", "a\tb", "!!", "$HOME", "${HOME}", "#x", "(", ")", "{a,b}", "a'$(echo pwned)'", "\\'",
    "'; echo pwned; '", '"; echo pwned; "', "\\", "a\\\\", "-rf", "PATH=/nowhere", "ü ß", "\x1b[31m", "\u202e",
    "\\\nx", "<(echo)", "EOF",
)  # fmt: skip


def words_of(command: str) -> list[str]:
    """The arguments that bash gives to the program of a command."""
    script = f'show() {{ printf "%s\\0" "$@"; }}\nshow {command}'
    ran = subprocess.run(["bash", "-c", script], capture_output=True, check=True, cwd="/", env={"LC_ALL": "C.UTF-8"})
    assert ran.stderr == b""
    return ran.stdout.decode().split("\0")[:-1]


def filled(command: str, value: str) -> str:
    return substitute(command, VARIABLE, lambda match: value)


@pytest.mark.parametrize("command", ONE_WORD)
def test_a_nasty_value_is_one_word_wherever_it_stands(command: str) -> None:
    """SEMANTICS 3.3"""
    together = " ".join(filled(command, value) for value in NASTY)
    assert words_of(together) == list(NASTY)


texts = st.text(
    st.sampled_from("ab'\"\\$`(){}[]!#&|;<>*?~=-+ \n\t") | st.characters(exclude_categories=["Cs"], min_codepoint=1),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=texts, shape=st.sampled_from([shape for shape in ONE_WORD if "$(" not in shape]))
@example(value="\r", shape=X)
def test_any_value_is_one_word(value: str, shape: str) -> None:
    """SEMANTICS 3.3"""
    assert words_of(filled(shape, value)) == [value]


PIECES = (
    "a", " ", "'", '"', "`", "$(", "$((", ")", "((", "))", "(", "\\", "#", "\n", "<<E\n", "\nE\n", "$'", '$"', "${",
    "}", ";", "case x in a)", "esac", "$[", "]", "<<<", X, X, X,
)  # fmt: skip
HARMFUL = (
    "';touch pwned;'", '";touch pwned;"', "$(touch pwned)", "`touch pwned`", "\ntouch pwned\n", ")touch pwned;",
    "\\\ntouch pwned\n", "}touch pwned;",
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    command=st.lists(st.sampled_from(PIECES), min_size=1, max_size=10).map("".join), value=st.sampled_from(HARMFUL)
)  # fmt: skip
def test_no_command_runs_what_a_value_says(command: str, value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SEMANTICS 3.3, in commands that are mostly nonsense: bash may refuse them, but not run the value."""
    try:
        text = filled(command, value)
    except Refused:
        return
    place = tmp_path_factory.mktemp("ran")
    subprocess.run(
        ["bash", "-c", text], capture_output=True, check=False, cwd=place, timeout=20,
        env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert not (place / "pwned").exists(), text


def test_a_plain_value_is_written_as_it_is() -> None:
    """The definition of a job, and with it what reruns, does not depend on how values are quoted."""
    for command in (*ONE_WORD, f"`cat {X}`", f"$((1 + {X}))", f"cat <<E\n{X}\nE"):
        assert filled(command, "data/été-1.5,a=b@c%d+e:f") == command.replace(X, "data/été-1.5,a=b@c%d+e:f")


def test_a_here_document_holds_the_value_itself() -> None:
    command = f"$(cat <<E\n{X}\nE\n)"
    assert words_of('"' + filled(command, "a b; c") + '"') == ["a b; c"]
    quoted = command.replace("<<E", "<<'E'")
    assert words_of('"' + filled(quoted, "$(echo a)") + '"') == ["$(echo a)"]


@pytest.mark.parametrize(
    ("command", "value", "inside"),
    [
        (f"echo `cat {X}`", "a b", "backquotes"),
        (f"echo $((1 + {X}))", "a b", "arithmetic"),
        (f'echo "${{v:-{X}}}"', "a b", "braces"),
        (f"echo \\{X}", "a b", "backslash"),
        (f"cat <<E\n{X}\nE", "$(a)", "here-document"),
        (f"cat <<E\n{X}\nE", "a\nE", "here-document"),
        (f"echo $(case a in a) echo {X};; esac)", "a b", "word case"),
    ],
)
def test_where_a_value_cannot_be_quoted_it_is_refused(command: str, value: str, inside: str) -> None:
    """SEMANTICS 3.3 and 3.5"""
    with pytest.raises(Refused, match=inside):
        filled(command, value)


def test_every_surrounding_is_told_in_words() -> None:
    for around in Around:
        if around not in (Around.NOTHING, Around.DOUBLE, Around.SINGLE, Around.ANSI, Around.COMMENT):
            with pytest.raises(Refused, match="inside"):
                quote("a\n$b", around)
