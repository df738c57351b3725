"""torcd as a service of `systemd --user`: its units, the manager, installing and removing it."""
