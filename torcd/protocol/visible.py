"""Text that is data, made fit for a terminal or a line of a log: what would control it is shown as an escape.

Names, paths and reasons may hold anything: escape sequences that repaint a screen or set its title, and signs that turn
the direction of writing, behind which a command looks like another one.
"""


def make_visible(text: str, *, keeps_lines: bool = False) -> str:
    """The text with control characters, unusual spaces and signs without a shape as in `\\x1b` and `\\u202e`.

    With `keeps_lines` line breaks stay.
    """
    if text.isprintable():
        return text
    kept = "\n" if keeps_lines else ""
    return "".join(char if char.isprintable() or char in kept else repr(char)[1:-1] for char in text)
