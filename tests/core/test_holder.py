"""Who held a job's latest attempt, in memory and in SQL."""

import numpy as np
import pytest
from builders import open_memory

from torcd.core.holder import as_current, as_history, is_current, is_history
from torcd.storage import holder as sql

HOLDERS = np.array([0, 3, -3], dtype=np.int32)


def test_an_attempt_is_history_current_or_there_was_none() -> None:
    assert is_current(HOLDERS).tolist() == [False, True, False]
    assert [is_history(holder) for holder in HOLDERS.tolist()] == [False, False, True]
    assert as_history(HOLDERS).tolist() == [0, -3, -3]
    assert as_current(HOLDERS).tolist() == [0, 3, 3]
    assert as_history(HOLDERS).dtype == as_current(HOLDERS).dtype == np.int32


@pytest.mark.parametrize("holder", HOLDERS.tolist())
def test_the_database_reads_it_alike(holder: int) -> None:
    db = open_memory()
    row = db.execute(
        f"SELECT {sql.AS_HISTORY}, {sql.AS_CURRENT}, {sql.IS_CURRENT} FROM (SELECT ? AS worker_id)", (holder,)
    )
    found = row.fetchone()
    db.close()
    assert found == (as_history(holder), as_current(holder), is_current(np.array([holder], dtype=np.int32))[0])
