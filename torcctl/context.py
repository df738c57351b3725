"""What every command gets: the global options, the session with the daemon, the way to show a result.

The session is made with the first call. A query that loses it is repeated on a new one; anything that changes
something is not, because the daemon may have done it (operations repeat under their request key: `follow`).
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from torcctl import autostart, output
from torcctl.finding import url_of
from torcctl.options import LOG_LEVELS, Options
from torcd.protocol import lookups, proposals, recover, requests, slurm
from torcd.protocol.address import Places, find_places
from torcd.protocol.client import CALL_TIMEOUT_S, Connection, NoAnswer
from torcd.protocol.errors import Refused, Unreachable
from torcd.protocol.requests import ListRequest, ListWorkflows, Request
from torcd.protocol.visible import make_visible

Kind = TypeVar("Kind")

RECONNECT_S = 30.0
"""How long a client looks for a daemon that vanished (INTERFACE 1)."""

RECONNECT_PAUSE_S = 0.2

QUERIES = (
    requests.ListRequest,
    requests.ListWorkflows,
    requests.DaemonStatus,
    requests.GetWorkflow,
    requests.GetStatus,
    requests.GetJob,
    requests.GetUserData,
    requests.GetResult,
    requests.GetTask,
    requests.GetTaskPlan,
    requests.ExplainJob,
    recover.SuggestAllocations,
    proposals.ProposeSchedulers,
    lookups.FindJobs,
    lookups.GetFile,
    lookups.GetWorker,
    slurm.GetAllocation,
    slurm.RefreshAllocations,
    slurm.GetAccount,
)
"""Requests that change nothing, and so may be repeated."""

FREE_TEXT = {
    "name",
    "job_name",
    "command",
    "path",
    "submission_directory",
    "user",
    "requested_by",
    "hostname",
    "error",
    "slurm_reason",
    "data",
}
"""Fields that stand in lists and may be as long as they like; ids, numbers, times and statuses are short."""


class Context:
    """One run of torcctl. `close` ends its session."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self.options = options
        self.environ = environ
        self._places: Places | None = None
        self._connection: Connection | None = None
        self._was_elsewhere = False
        """Whether the daemon was found by the connection file once."""

    # ---- the daemon ---------------------------------------------------------------------------------------

    @property
    def places(self) -> Places:
        """Where the daemon's things lie."""
        if self._places is None:
            self._places = find_places(self.environ, url=self.options.url)
        return self._places

    @property
    def url(self) -> str:
        """The daemon's address: of the session, or where it is looked for first."""
        return url_of(self.places) if self._connection is None else self._connection.url

    @property
    def may_start(self) -> bool:
        """Whether a daemon may be started when none answers. Not in place of one that was found on another host: this
        one may be a cluster's node, and gone tomorrow."""
        if self._was_elsewhere:
            return False
        return not self.options.no_autostart and self.environ.get("TORC_NO_AUTOSTART") != "1"

    @property
    def connection(self) -> Connection:
        """The session, made on first use. Raises Unreachable."""
        if self._connection is None:
            started_at = time.monotonic()
            self._connection = autostart.reach(self.places, may_start=self.may_start)
            self._was_elsewhere |= self._connection.address.file is not None
            self.note("debug", f"connected to {self.url} in {(time.monotonic() - started_at) * 1e3:.1f} ms")
        return self._connection

    def close(self) -> None:
        """Ends the session, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def persistently(self, attempt: Callable[[], Kind]) -> Kind:
        """What `attempt` returns; it is repeated on a new session when it lost its own, for RECONNECT_S.

        Only for what may be done twice. Raises Unreachable at once when nobody is there to begin with.
        """
        _ = self.connection
        give_up_at: float | None = None
        while True:
            began = time.monotonic()
            try:
                return attempt()
            except NoAnswer:
                raise
            except Unreachable:
                now = time.monotonic()
                if give_up_at is None or now - began > RECONNECT_S:  # the first loss, or a new one long after
                    give_up_at = now + RECONNECT_S
                elif now >= give_up_at:
                    raise
                else:
                    time.sleep(RECONNECT_PAUSE_S)
                self._reconnect(give_up_at)

    def _reconnect(self, give_up_at: float) -> None:
        lost = self.url
        self.close()
        self.note("info", f"lost the daemon at {lost}; reconnecting")
        while True:
            try:
                _ = self.connection
            except Unreachable:
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(RECONNECT_PAUSE_S)
            else:
                return

    def call(self, request: Request, *, timeout_s: float | None = CALL_TIMEOUT_S) -> msgspec.Raw:
        """The raw result of a request. A query survives the loss of its session."""
        if isinstance(request, QUERIES):
            return self.persistently(lambda: self.connection.call(request, timeout_s=timeout_s))
        call_id = self.connection.begin(request)
        try:
            return self.connection.finish(call_id, timeout_s=timeout_s)
        except Unreachable as error:
            doubt = f"whether {request.METHOD} was carried out is unknown; look before you try again"
            raise Unreachable(f"{error.message}; {doubt}", **error.data) from error

    def get(self, request: Request, kind: type[Kind], *, timeout_s: float | None = CALL_TIMEOUT_S) -> Kind:
        """The decoded result of a request."""
        return msgspec.json.decode(self.call(request, timeout_s=timeout_s), type=kind)

    def pages(self, request: ListRequest | ListWorkflows) -> Iterator[dict[str, msgspec.Raw]]:
        """The pages of a list, each as the daemon sent it."""
        while True:
            page = self.get(request, dict[str, msgspec.Raw])
            yield page
            cursor = msgspec.json.decode(page.get("next_cursor", b"null"), type=int | None)
            if cursor is None:
                return
            request = msgspec.structs.replace(request, cursor=cursor)

    def rows(self, request: ListRequest | ListWorkflows, key: str, kind: type[Kind]) -> list[Kind]:
        """All rows of a list; `kind` may be `msgspec.Raw`, for rows as the daemon sent them."""
        found: list[Kind] = []
        for page in self.pages(request):
            found += msgspec.json.decode(page[key], type=list[kind])  # type: ignore[valid-type]  # made at run time
        return found

    # ---- the user -----------------------------------------------------------------------------------------

    @property
    def may_prompt(self) -> bool:
        """Whether somebody sits there who can be asked."""
        return not self.options.no_prompts and sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str) -> None:
        """Asks before something that cannot be taken back; without a terminal the answer is yes."""
        if self.may_prompt and self.ask(f"{question} [y/N] ").lower() not in ("y", "yes"):
            raise Refused("nothing was changed: the question was answered with no")

    def ask(self, text: str) -> str:
        """The user's answer, without white space around it."""
        print(make_visible(text, keeps_lines=True), end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise Refused("nothing was changed: the input ended before an answer")
        return line.strip()

    def note(self, level: str, text: str) -> None:
        """Tells the user something on stderr that is not the result; `level` is one of LOG_LEVELS."""
        chosen = self.options.log_level or "info"
        if LOG_LEVELS.index(level) <= LOG_LEVELS.index(chosen):
            text = make_visible(text, keeps_lines=True)
            sys.stdout.flush()  # what was told before stands before it, also where both go to one file
            print(f"{level}: {text}" if level != "info" else text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Tells the user of something that may be wrong."""
        self.note("warning", text)

    # ---- results ------------------------------------------------------------------------------------------

    def show(self, raw: msgspec.Raw, kind: type[Kind], render: Callable[[Kind], None]) -> None:
        """Prints a result: as it came for programs, rendered for people."""
        if self.options.json:
            output.write_json(raw)
        else:
            render(msgspec.json.decode(raw, type=kind))

    def show_done(self, raw: msgspec.Raw, sentence: str) -> None:
        """Prints that something was done: the daemon's answer for programs, a sentence for people."""
        if self.options.json:
            output.write_json(raw)
        else:
            print(sentence)

    def show_rows(
        self,
        request: ListRequest | ListWorkflows,
        key: str,
        kind: type[msgspec.Struct],
        columns: Mapping[str, str],
        texts: Mapping[str, Callable[[Any], str]] = MappingProxyType({}),
    ) -> None:
        """Prints all rows of a list; `columns` maps a heading to the field that stands under it.

        `texts` says for some fields how people are shown what they hold, unless that is null.
        """
        if self.options.json:
            output.write_json({key: self.rows(request, key, msgspec.Raw)})
            return
        rows = self.rows(request, key, kind)

        def show(row: msgspec.Struct, name: str) -> object:
            value = getattr(row, name)
            return texts[name](value) if name in texts and value is not None else value

        output.write_table(
            list(columns),
            ([show(row, name) for name in columns.values()] for row in rows),
            free_text=[heading for heading, name in columns.items() if name in FREE_TEXT],
        )


def user_name(environ: Mapping[str, str]) -> str:
    """Who runs this, by the user id; the environment may say anything."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return environ.get("USER") or str(os.getuid())
