"""Pages that histories propose, and what the tracer says of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from contracts.pages.facts import brief_facts, whole_facts
from contracts.pages.faults import PageRefused
from contracts.pages.limits import Gas
from contracts.system import standard_pages
from tests.page_of_uses import PAGE

_RUN = '"""{says}"""\n\n\ndef run({takes}):\n{body}\n'
PAGES = (
    _RUN.format(
        says="Rows.", takes="a, b", body='    release(count(join(a, b)), to="bank", exact=True, name="rows")'
    ),
    _RUN.format(
        says="A sum.", takes="a, *, column='x'", body='    release(sum(a[column]), to="rival", exact=True)'
    ),
    _RUN.format(
        says="Kept.", takes="*tables", body='    keep(join(tables)[name_of(tables[0])].x, name="kept")'
    ),
)
FOUNDED = {
    "statistics": PAGE,
    "scoring": PAGE.replace("people all", "persons all"),
    "private-join": standard_pages()["private-join"],
}
"""The programs with which these histories begin."""
BROKEN = _RUN.format(says="A cell.", takes="a", body='    release(a.x[0], to="bank", exact=True)')
"""It takes a row by its number."""


@cache
def facts_of(source: str) -> dict[str, Any] | None:
    """Return what follows of a page; None if it is refused."""
    try:
        return whole_facts(source, [], {}, Gas(10**8))
    except PageRefused:
        return None


def job_facts(
    source: str, datasets: list[Any], parameters: dict[str, Any], initiator: str
) -> dict[str, Any] | str:
    """Return what follows of a job of an initiator under a page, or the code with which it is refused."""
    try:
        return brief_facts(source, datasets, parameters, Gas(10**8), initiator)
    except PageRefused as refused:
        missing = refused.diagnostics[0].rule == "DOMAIN_NOT_REGISTERED"
        return "DOMAIN_NOT_REGISTERED" if missing else "REJECTED_PAGE"
