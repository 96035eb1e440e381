"""Line coverage of contracts, for their authors' tests: which lines ran, and which could have.

A line counts when a statement begins there, or the test of an `elif`. What runs is told by the interpreter
itself (`Watch`), so a contract's gas and outcome are the same with coverage and without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.language.back.builder import Watch
from contracts.language.ir import Node


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """The coverage of one source: its lines that could run, and those that did."""

    name: str
    possible: frozenset[int]
    ran: frozenset[int]

    @property
    def missed(self) -> tuple[int, ...]:
        """Return the lines that never ran, ascending."""
        return tuple(sorted(self.possible - self.ran))

    @property
    def percent(self) -> int:
        """Return the whole percent of lines that ran, rounded down; 100 when none could."""
        return 100 * len(self.possible & self.ran) // len(self.possible) if self.possible else 100

    def render(self) -> str:
        """Return `name: 93 % of 40 lines; not run: 12, 30-32`."""
        text = f"{self.name}: {self.percent} % of {len(self.possible)} lines"
        return f"{text}; not run: {', '.join(ranges(self.missed))}" if self.missed else text


def ranges(lines: Iterable[int]) -> list[str]:
    """Return ascending numbers as texts, runs of them as `first-last`."""
    found: list[list[int]] = []
    for line in lines:
        if found and line == found[-1][1] + 1:
            found[-1][1] = line
        else:
            found.append([line, line])
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]


@dataclass(slots=True)
class _Source:
    name: str
    possible: frozenset[int]
    ran: set[int] = field(default_factory=set)


class Coverage:
    """Gathers the lines of every source that the runtimes watched by it compile and run."""

    def __init__(self) -> None:
        """Start with no source."""
        self._sources: dict[str, _Source] = {}
        self._names: dict[str, str] = {}

    def watcher(self, source: str, program: Node) -> Watch:
        """Return what is told each line that runs of a source (`contracts.language.program.Watcher`)."""
        name = self._names.get(source, "")
        entry = self._sources.setdefault(source, _Source(name, frozenset(_lines(program))))
        return entry.ran.add

    def call_it(self, source: str, name: str | Path) -> None:
        """Give a source the name under which it is reported: its file's, or its contract's."""
        self._names[source] = str(name)
        if source in self._sources:
            self._sources[source].name = str(name)

    def report(self) -> list[FileCoverage]:
        """Return the coverage of each source that was given a name, by name."""
        found = [
            FileCoverage(entry.name, entry.possible, frozenset(entry.ran))
            for entry in self._sources.values()
            if entry.name
        ]
        return sorted(found, key=lambda file: file.name)


def merged(reports: Iterable[FileCoverage]) -> list[FileCoverage]:
    """Return one report a name: a line ran when it ran anywhere."""
    found: dict[str, FileCoverage] = {}
    for one in reports:
        old = found.get(one.name, FileCoverage(one.name, frozenset(), frozenset()))
        found[one.name] = FileCoverage(one.name, old.possible | one.possible, old.ran | one.ran)
    return [found[name] for name in sorted(found)]


def to_plain(report: Iterable[FileCoverage]) -> list[list[Any]]:
    """Return a report as lists, for another process."""
    return [[file.name, sorted(file.possible), sorted(file.ran)] for file in report]


def from_plain(plain: Iterable[list[Any]]) -> list[FileCoverage]:
    """Return what `to_plain` was given."""
    return [FileCoverage(name, frozenset(possible), frozenset(ran)) for name, possible, ran in plain]


def _lines(program: Node) -> Iterator[int]:
    for definition in program[-1]:
        yield from _block(definition[-1])


def _block(nodes: tuple[Node, ...]) -> Iterator[int]:
    for node in nodes:
        yield node[1]
        if node[0] == "if":
            for line, _, body in node[2]:
                yield line
                yield from _block(body)
            yield from _block(node[3])
        elif node[0] == "while":
            yield from _block(node[3])
        elif node[0] == "for":
            yield from _block(node[4])
