"""The process beside a command: reads the command's output from its standard input, logs the metrics in it, samples.

The first line says what to do, as JSON; then comes the output, line by line. When that ends, one line of JSON on
standard output says what was found. It does not outlive who started it: its input ends with him.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from trk import session
from trk.capture import scrape
from trk.capture.scrape import Found
from trk.errors import Conflict, TrkError, UsageError
from trk.run import Run
from trk.running.kept import CODES
from trk.running.sampling import Sampling

PATTERN_S = 0.25  # how long a pattern may look at a line
STRIKES = 3  # how many lines may be too much for it before it is left out
_CHUNK = 1 << 16
_ENDS = re.compile(rb"[\r\n\x08]+")  # a bar may also go back letter by letter


class TooLong(Exception):
    """A pattern takes too long."""


class Listener:
    """Logs what the lines say into a run."""

    def __init__(self, run: Run, scraping: bool, patterns: Sequence[re.Pattern[str]]) -> None:
        self._run = run
        self._scraper = scrape.Scraper() if scraping else None
        self._patterns = dict.fromkeys(patterns, 0)
        self.points = 0
        self.names: dict[str, None] = {}
        self._ended = False
        self._told: dict[str, int] = {}

    @property
    def troubles(self) -> list[str]:
        """What went wrong, each once, with how often."""
        return [what if often == 1 else f"{what} ({often} times)" for what, often in self._told.items()]

    def read(self, raw: bytes) -> None:
        """One line."""
        line = CODES.sub(b"", raw).decode("utf-8", "replace")
        given = [found for pattern in list(self._patterns) for found in self._by_pattern(pattern, line)]
        known = {name for found in given for name in found.values}
        for found in self._scraper.read(line) if self._scraper is not None else ():
            rest = {name: value for name, value in found.values.items() if name not in known}
            given.append(Found(rest, found.step))
        for found in given:
            self._log(found)

    def end(self) -> None:
        """There are no more lines."""
        for found in self._scraper.end() if self._scraper is not None else ():
            self._log(found)

    def _by_pattern(self, pattern: re.Pattern[str], line: str) -> list[Found]:
        if len(line) > scrape.LONGEST:
            return []
        signal.setitimer(signal.ITIMER_REAL, PATTERN_S)
        try:
            return list(scrape.by_pattern(pattern, line))
        except TooLong:
            self._patterns[pattern] += 1
            if self._patterns[pattern] >= STRIKES:
                del self._patterns[pattern]
                self._note(f"--pattern {pattern.pattern!r} takes too long and was left out")
            return []
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _log(self, found: Found) -> None:
        values = {name: value for name, value in found.values.items() if self._takes(name)}
        if not values or self._ended:
            return
        try:
            self._run.log_metrics(values, found.step)
            self.points += len(values)
        except Conflict:  # the command has ended the run by itself
            self._ended = True
            self._note("the run had ended before all of the output was read")
        except UsageError as error:  # a name that the key prefix makes too long
            self._note(error.message)
        except TrkError as error:
            self._note(f"metrics could not be logged: {error.message}")

    def _takes(self, name: str) -> bool:
        if name not in self.names:
            if len(self.names) >= scrape.MOST_NAMES:
                self._note(f"more than {scrape.MOST_NAMES} different metrics in the output: the others are left out")
                return False
            self.names[name] = None
        return True

    def _note(self, what: str) -> None:
        self._told[what] = self._told.get(what, 0) + 1


def lines_of(descriptor: int, rest: bytes = b"") -> Iterator[bytes]:
    """Lines as they come; one that has no end is given up beyond what is looked at."""
    while True:
        *whole, rest = _ENDS.split(rest)
        yield from (line for line in whole if line)
        if len(rest) > 8 * scrape.LONGEST:
            rest = rest[: scrape.LONGEST + 1]  # too long already, whatever more comes
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            break
        rest += chunk
    if rest:
        yield rest


def _too_long(_: int, __: FrameType | None) -> None:
    raise TooLong


def main() -> None:
    """Do what the first line says."""
    signal.signal(signal.SIGALRM, _too_long)
    head = b""
    while b"\n" not in head:
        chunk = os.read(0, _CHUNK)
        if not chunk:
            return
        head += chunk
    first, _, rest = head.partition(b"\n")
    told: dict[str, Any] = json.loads(first)
    run = Run(session.open_journal(told["folder"]), told["folder"], told["run"], key_prefix=told["key_prefix"])
    listener = Listener(run, told["scrape"], scrape.compiled(told["patterns"]))
    sampling = None
    if told["system_metrics"] is not None:
        sampling = Sampling(run, pid=told["pid"], interval=told["system_metrics"]).start()
    for line in lines_of(0, rest):
        listener.read(line)
    listener.end()
    troubles = listener.troubles
    if sampling is not None:
        sampling.stop()
        troubles += [f"system metrics: {sampling.trouble}"] if sampling.trouble else []
    said = {
        "points": listener.points, "metrics": list(listener.names), "samples": sampling.count if sampling else 0,
        "troubles": troubles,
    }  # fmt: skip
    os.write(1, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    main()
