"""The words of a command that may be scripts (SEMANTICS 4.5)."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core.scripts import find_words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python train.py data/in.csv", ["python", "train.py", "data/in.csv"]),
        ("bash ./run.sh -n 5 --lr=x.py --seed s", ["bash", "./run.sh", "5", "s"]),
        ("sh a.sh; sh b.sh && c.sh | d.sh &", ["sh", "a.sh", "b.sh", "c.sh", "d.sh"]),
        ("sh 'my script.sh' \"it's.sh\" a\\ b.sh", ["sh", "my script.sh", "it's.sh", "a b.sh"]),
        ("(cd sub && ./go.sh)", ["cd", "sub", "./go.sh"]),
        ("diff <(sort a.txt) b.txt", ["diff", "sort", "a.txt", "b.txt"]),
        ("sh \\\n  run.sh\nsh next.sh", ["sh", "run.sh", "next.sh"]),
        ("echo '$HOME'", ["echo", "$HOME"]),
        ("", []),
        ("''", []),
    ],
)
def test_the_words_of_a_command_are_found_without_their_quotes(command: str, words: list[str]) -> None:
    """SEMANTICS 4.5"""
    assert find_words(command) == words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sh run.sh > out.txt 2>err.txt < in.txt", ["sh", "run.sh"]),
        ("sh run.sh >> log 2>&1", ["sh", "run.sh"]),
        ("sh 'run.sh' >'my log' &> all", ["sh", "run.sh"]),
        ("cat file2>out", ["cat", "file2"]),
        ("cat 2>out a", ["cat", "a"]),
        ("cat <<< word 'x'", ["cat", "x"]),
    ],
)
def test_targets_of_redirections_are_left_out(command: str, words: list[str]) -> None:
    """SEMANTICS 4.5"""
    assert find_words(command) == words


@pytest.mark.parametrize(
    "word",
    [
        "*.py",
        "a?.py",
        "a[12].py",
        "$X/run.py",
        '"$X"',
        "`which x`x",
        "{a,b}.py",
        "~/run.py",
        "~'x'",
        "-n",
        "--config=c.py",
    ],
)
def test_words_that_only_the_shell_knows_and_options_are_left_out(word: str) -> None:
    """SEMANTICS 4.5"""
    assert "run.py" not in " ".join(find_words(f"sh {word}"))
    assert word not in find_words(f"sh {word}")


def test_here_documents_and_comments_hold_no_words() -> None:
    """SEMANTICS 4.5"""
    command = "cat <<EOF > out\nscript.py\nEOF\nsh go.sh # not.sh\ncat <<-'E O'\n\tb.py\n\tE O\nsh last.sh"
    assert find_words(command) == ["cat", "sh", "go.sh", "last.sh"]


def test_an_unfinished_quote_does_not_raise() -> None:
    assert find_words("sh run.sh 'open") == ["sh", "run.sh", "open"]


@given(st.text(max_size=60))
def test_any_text_has_words_that_could_be_paths(command: str) -> None:
    for word in find_words(command):
        assert word
        assert word[0] != "-"


@given(st.lists(st.text(st.characters(exclude_characters="\0\n", codec="utf-8"), min_size=1), max_size=5))
def test_quoted_words_come_out_as_they_went_in(words: list[str]) -> None:
    """Except options, which are no paths."""
    expected = [word for word in dict.fromkeys(words) if not word.startswith("-")]
    assert find_words(" ".join(map(shlex.quote, words))) == expected
