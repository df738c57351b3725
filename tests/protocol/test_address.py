"""Where the daemon's things lie."""

from pathlib import Path

from torcd.protocol.address import find_places


def test_a_database_that_is_a_symbolic_link_is_the_one_it_leads_to(tmp_path: Path) -> None:
    """Its log and its lock lie beside the real one: else two daemons could have it at once."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "real" / "torc.db")
    places = find_places({"HOME": str(tmp_path), "TORCD_DATABASE": str(link)})
    assert places.database == tmp_path / "real" / "torc.db"
    assert places.lock == tmp_path / "real" / "torc.db.lock"
