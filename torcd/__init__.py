"""torcd, the daemon: keeps workflows in SQLite and decides which of their jobs must run."""

__version__ = "0.1.0"
