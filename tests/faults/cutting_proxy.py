"""A Unix socket between clients and the daemon that delays, truncates and cuts what passes, and reads along.

Connections are cut at any byte: in the handshake, in the head of a frame, in its middle. What the daemon has answered
is noted even when the answer does not arrive.
"""

import contextlib
import json
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

RECEIVE_BYTES = 65536


class Frames:
    """Takes the text messages out of one direction of a websocket, the handshake included."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._has_shaken_hands = False

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete with these bytes."""
        self._bytes += data
        if not self._has_shaken_hands:
            end = self._bytes.find(b"\r\n\r\n")
            if end < 0:
                return []
            del self._bytes[: end + 4]
            self._has_shaken_hands = True
        found = []
        while (frame := self._take()) is not None:
            opcode, payload = frame
            if opcode == 1:
                found.append(payload)
        return found

    def _take(self) -> tuple[int, bytes] | None:
        data = self._bytes
        if len(data) < 2:
            return None
        masked, size, start = bool(data[1] & 0x80), data[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start], "big")
        end = start + 4 * masked + size
        if len(data) < end:
            return None
        payload = bytes(data[end - size : end])
        if masked:
            mask = bytes(data[start : start + 4]) * (size // 4 + 1)
            payload = bytes(a ^ b for a, b in zip(payload, mask, strict=False))
        opcode = data[0] & 0x0F
        del data[:end]
        return opcode, payload


class Acknowledged:
    """The ends of attempts that workers reported and the daemon took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[tuple[int, int], int] = {}

    def note(self, report: dict[str, Any], answer: dict[str, Any]) -> None:
        """Takes in a report and its answer."""
        refused = {(each["job_id"], each["attempt_id"]) for each in answer.get("refused", ())}
        with self._lock:
            for end in report.get("ended", ()):
                key = end["job_id"], end["attempt_id"]
                if key not in refused:
                    self._ends[key] = end["return_code"]

    def ends(self) -> dict[tuple[int, int], int]:
        """Return codes by job and attempt."""
        with self._lock:
            return dict(self._ends)


class _Pair:
    """One client's connection and the daemon's."""

    def __init__(self, proxy: "CuttingProxy", client: socket.socket, luck: random.Random) -> None:
        self._proxy = proxy
        self._client = client
        self._daemon = socket.socket(socket.AF_UNIX)
        self._luck = luck
        self._reports: dict[Any, dict[str, Any]] = {}
        self._up, self._down = Frames(), Frames()
        self.cuts = False
        """The next bytes are passed on in part, and then nothing any more."""

    def run(self) -> None:
        """Passes on until one of them has ended, or the proxy cuts."""
        with self._client, self._daemon:
            try:
                self._daemon.connect(str(self._proxy.target))
            except OSError:
                return  # as a daemon that hangs up
            other = threading.Thread(target=self._pass, args=(self._daemon, self._client, self._on_down), daemon=True)
            other.start()
            self._pass(self._client, self._daemon, self._on_up)
            other.join()

    def close(self) -> None:
        """Cuts the connection now, between whatever bytes."""
        for each in (self._client, self._daemon):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _pass(self, source: socket.socket, sink: socket.socket, on_bytes: Any) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(RECEIVE_BYTES):
                if source is self._daemon:
                    on_bytes(data)  # it is said, whether it arrives or not
                delay_s = self._proxy.delay_s
                if delay_s:
                    time.sleep(self._luck.uniform(0, delay_s))
                if self.cuts or self._luck.random() < self._proxy.cut_chance:
                    self._proxy.num_cuts += 1
                    sink.sendall(data[: self._luck.randrange(len(data) + 1)])
                    break
                if source is self._client:
                    on_bytes(data)
                sink.sendall(data)
        self.close()

    def _on_up(self, data: bytes) -> None:
        for message in self._up.feed(data):
            call = json.loads(message)
            if call.get("method") == "workers.report" and call["params"].get("ended"):
                self._reports[call["id"]] = call["params"]

    def _on_down(self, data: bytes) -> None:
        for message in self._down.feed(data):
            answer = json.loads(message)
            report = self._reports.pop(answer.get("id"), None)
            if report is not None and "result" in answer:
                self._proxy.acknowledged.note(report, answer["result"])


class CuttingProxy:
    """Listens at `path` until `stop` and passes everything on to `target`."""

    def __init__(self, path: Path, target: Path, acknowledged: Acknowledged, luck: random.Random) -> None:
        self.path = path
        self.target = target
        self.acknowledged = acknowledged
        self.cut_chance = 0.0
        """That any piece of data is the last one of its connection."""
        self.delay_s = 0.0
        """At most, of each piece."""
        self.num_cuts = 0
        self._luck = luck
        self._pairs: list[_Pair] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The address by which clients come here."""
        return f"ws+unix://{self.path}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                pair = _Pair(self, client, random.Random(self._luck.random()))
                self._pairs.append(pair)
                threading.Thread(target=pair.run, daemon=True).start()

    def cut(self, share: float, *, in_the_middle: bool) -> None:
        """Cuts a share of the connections: now, or in the middle of what they say next."""
        for pair in list(self._pairs):
            if self._luck.random() < share:
                if in_the_middle:
                    pair.cuts = True
                else:
                    self.num_cuts += 1
                    pair.close()

    def stop(self) -> None:
        """Ends the proxy and all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in list(self._pairs):
            pair.close()
