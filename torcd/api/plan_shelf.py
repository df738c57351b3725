"""Plans that are being read: a dry run's is nowhere else, and a stored one is not unpacked for every page."""

from collections import OrderedDict
from typing import Any

from torcd.core.plan import ShownPlan, Summary, unpack_plan
from torcd.operations.operate import Planned
from torcd.protocol.errors import NotFound
from torcd.storage.database import Database
from torcd.storage.plans import show_page, show_summary
from torcd.storage.tasks import load_plan

MOST_PLANS, MOST_JOBS = 64, 2_000_000
"""Plans that are kept for their further pages, and the jobs in all of them; the oldest are dropped."""
PAGE = 2_000
"""Jobs in one page: about half a MiB with their reasons."""


class PlanShelf:
    """The plans of dry runs and of ended tasks, a page at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._plans: OrderedDict[str, tuple[Summary, ShownPlan]] = OrderedDict()
        self._previews = 0

    async def show_new(self, planned: Planned) -> dict[str, Any]:
        """Keeps a dry run's plan and shows its first page."""
        self._previews += 1
        token = f"preview {self._previews}"
        self._keep(token, planned.summary, unpack_plan(planned.packed))
        return await self.show_preview(token, 0, PAGE)

    async def show_preview(self, token: str, cursor: int, limit: int) -> dict[str, Any]:
        """A page of a dry run's plan; raises NotFound when it was dropped."""
        found = self._plans.get(token)
        if found is None:
            raise NotFound(f"there is no dry run {token!r} (any more): ask for it again", noun="preview", id=token)
        summary, plan = found
        jobs, following = await self._database.read(lambda db: show_page(db, plan, cursor, min(limit, PAGE)))
        return {"plan": show_summary(summary, jobs, dry_run=True), "next_cursor": following, "preview": token}

    async def show_task(self, task_id: int, cursor: int, limit: int) -> object:
        """A page of the plan of a task that succeeded; raises NotFound."""
        key = f"task {task_id}"
        if key not in self._plans:
            summary, packed = await self._database.read(lambda db: load_plan(db, task_id))
            self._keep(key, summary, unpack_plan(packed))
        plan = self._plans[key][1]
        jobs, following = await self._database.read(lambda db: show_page(db, plan, cursor, min(limit, PAGE)))
        return {"jobs": jobs, "next_cursor": following}

    def _keep(self, key: str, summary: Summary, plan: ShownPlan) -> None:
        self._plans[key] = summary, plan
        while len(self._plans) > 1 and (
            len(self._plans) > MOST_PLANS or sum(len(kept.jobs) for _, kept in self._plans.values()) > MOST_JOBS
        ):
            self._plans.popitem(last=False)
