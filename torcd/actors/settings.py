"""Times that users set, in config.toml, in the environment or by an option."""

from torcd.protocol.errors import Refused


def parse_seconds(
    text: str | None, *, name: str, where: str, default_s: float, shortest_s: float, longest_s: float
) -> float:
    """The seconds that a setting stands for, None for none; raises Refused, with its name and where it is set."""
    if text is None:
        return default_s
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not shortest_s <= seconds <= longest_s:
        raise Refused(
            f"{name}: {text!r} is no number of seconds from {shortest_s:g} to {longest_s:g} ({where})", value=text
        )
    return seconds
