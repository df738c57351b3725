"""Reading workflow specifications: YAML, JSON, JSON5 and TOML, with the line of what is wrong.

Only the form is checked here; names, references, parameters and cycles are the daemon's to judge.
"""

from torcctl.specification.load import Loaded, find_line, find_lines, find_lines_of, load_specification, read_text
from torcctl.specification.pieces import split

__all__ = ["Loaded", "find_line", "find_lines", "find_lines_of", "load_specification", "read_text", "split"]
