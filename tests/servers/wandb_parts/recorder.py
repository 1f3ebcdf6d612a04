"""Keeps on disk what changes the server, so that it can be killed and started again: its state is the requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path


class Recorder:
    """One line per request in `folder/received.jsonl`; a line torn by a kill was never answered, and is dropped."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "received.jsonl"
        self._drop_torn_line()
        self._file = self._path.open("a", encoding="utf-8")

    def _drop_torn_line(self) -> None:
        if self._path.exists():
            content = self._path.read_bytes()
            self._path.write_bytes(content[: content.rfind(b"\n") + 1])

    def record(self, at: float, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        """Write one down. It survives the kill of this process, not of the machine."""
        line = [at, method, path, headers, base64.b64encode(body).decode()]
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def recorded(self) -> Iterator[tuple[float, str, str, dict[str, str], bytes]]:
        """All that were written down, in order."""
        with self._path.open(encoding="utf-8") as lines:
            for line in lines:
                at, method, path, headers, body = json.loads(line)
                yield at, method, path, headers, base64.b64decode(body)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
