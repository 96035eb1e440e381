"""Standard pages as the work of a job, for tests of what is judged of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.system import standard_pages
from privcompute.cli.page_jobs import exact
from privcompute.pages.columns import JobInput
from privcompute.pages.derived import PageInput, derive
from privcompute.pages.work import PageWork, of_plan


def standard_work(program: str, inputs: Sequence[JobInput], parameters: Mapping[str, Any]) -> PageWork:
    """Return the work of a standard page, on which a dataset OWNER/NAME is called NAME; its key is `id`."""
    owners = [item.dataset.partition("/")[0] for item in inputs]
    names = [item.dataset.partition("/")[2] for item in inputs]
    every = zip(names, owners, inputs, strict=True)
    pages = [PageInput(name, owner, ("id",), item.columns) for name, owner, item in every]
    derived = derive(standard_pages()[program], pages, exact(parameters), owners[0])
    parties = dict(zip(owners, range(len(owners)), strict=True))
    return of_plan(derived.plan, [*zip(names, inputs, strict=True)], [("id",)] * len(names), parties)
