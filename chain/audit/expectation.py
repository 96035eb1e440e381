"""What a reader expects of an audit package, which whoever made it chose; and what was not asked."""

from __future__ import annotations

from dataclasses import dataclass

from chain.audit.records import Contents
from chain.audit.trail import moment
from chain.audit.verify import VerificationReport

HeightOrTime = tuple[int | None, int | None]
"""A height, or a time in milliseconds since the epoch; neither where nothing is asked."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The subject and the heights or times that a package must cover."""

    subject: str | None
    start: HeightOrTime
    end: HeightOrTime
    min_height: int | None

    def lacking(self, report: VerificationReport) -> str:
        """Return what a valid package lacks of what is asked, "" for nothing."""
        contents = report.contents
        assert contents is not None
        if self.subject is not None and contents.subject != self.subject:
            return f"it is about {contents.subject}, not about {self.subject}"
        return self._begins(contents) or self._ends(contents)

    def _begins(self, contents: Contents) -> str:
        height, time = self.start
        said = f"it begins at height {contents.first}"
        if height is not None and contents.first > max(height, 0):
            return f"{said}, {height} was asked for"
        before = contents.times.get(contents.first - 1)
        if time is not None and before is not None and before >= time:
            return f"{said}, after {moment(before)}; {moment(time)} was asked for"
        return ""

    def _ends(self, contents: Contents) -> str:
        (height, time), last = self.end, contents.last
        least = max([one for one in (height, self.min_height) if one is not None], default=0)
        said = f"it ends with height {last}, {moment(contents.time(last, 'last'))}"
        if last < least:
            return f"{said}; {least} was asked for"
        if time is not None and contents.time(last, "last") < time:
            return f"{said}; {moment(time)} was asked for"
        return ""

    def open(self, max_age: int | None) -> list[str]:
        """Return what was not asked, with the option that asks it."""
        asked = (
            (self.subject is not None, "whether it is about what you mean (--expect-subject)"),
            (self.start != (None, None), "where it begins (--from)"),
            (self.end != (None, None) or self.min_height is not None, "where it ends (--to, --min-height)"),
            (max_age is not None, "how fresh it is (--max-age)"),
        )
        return [text for was, text in asked if not was]
