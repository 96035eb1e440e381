"""The work of a job, from what the ledger proves: the plan of its page.

A page is traced anew by every agent. Where anything that the job says of it does not follow, the job is
refused with the code that contract `jobs` has for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chain.primitives.values import Value
from privcompute.job.enforcement import JobRefusal
from privcompute.job.view import JobSpec, JobView
from privcompute.pages.columns import InputColumn, JobInput
from privcompute.pages.derived import DerivedPage, PageInput, derive, is_text_of
from privcompute.pages.work import PageWork, of_plan


@dataclass(frozen=True, slots=True)
class DeclaredInput:
    """What is registered of an input of a job."""

    owner: str
    key: tuple[str, ...]
    columns: tuple[InputColumn, ...]
    """Those that the job names, with the uses that it declares."""


def work_of(
    view: JobView, declared: Sequence[DeclaredInput], source: object, booking: Value = None
) -> PageWork:
    """Return the work of a job; `source` is the text of its page, as far as our node shows one.

    `booking` is what a job on the ledger is charged by it. Raises JobRefusal, and what the page objects to
    (PageRefused, InputRefused).
    """
    spec, parties = view.spec, view.party
    inputs = tuple(
        JobInput(one.dataset, parties[known.owner], known.columns)
        for one, known in zip(spec.inputs, declared, strict=True)
    )
    derived = derived_page(spec, view.initiator, declared, source)
    if view.entered_height > 0:
        check_charges(view, derived, booking)
    return of_plan(
        derived.plan,
        [(one.name, item) for one, item in zip(spec.inputs, inputs, strict=True)],
        [known.key for known in declared],
        parties,
    )


def derived_page(
    spec: JobSpec, initiator: str, declared: Sequence[DeclaredInput], source: object
) -> DerivedPage:
    """Return what follows of a job's page; raise JobRefusal where the job says anything else."""
    if not isinstance(source, str) or not is_text_of(source, spec.page):
        raise JobRefusal("UNKNOWN_PAGE", f"our node shows no text of page {spec.page.hex()[:16]}…")
    pairs = zip(spec.inputs, declared, strict=True)
    inputs = [PageInput(one.name, known.owner, known.key, known.columns) for one, known in pairs]
    derived = derive(source, inputs, spec.parameters, initiator)
    if derived.plan.hash != spec.plan:
        raise JobRefusal(
            "PLAN_DIFFERS",
            f"plan {derived.plan.hash.hex()[:16]}… follows of page and parameters, the job names "
            f"{spec.plan.hex()[:16]}…",
        )
    for one in spec.inputs:
        follows = derived.uses.get(one.name, {})
        if follows != one.columns:
            raise JobRefusal(
                "USES_DIFFER",
                f"{one.dataset} ({one.name}): {uses_said(follows)} follow of the page, the job names "
                f"{uses_said(one.columns)}",
                dataset=one.dataset,
            )
    if tuple(sorted(spec.receivers)) != derived.receivers:
        raise JobRefusal(
            "RECEIVERS_DIFFER",
            f"the page releases to {', '.join(derived.receivers)}, the job names {', '.join(spec.receivers)}",
        )
    if spec.profile not in derived.profiles:
        raise JobRefusal("PROFILE_NOT_OFFERED", f"the page runs under {', '.join(derived.profiles)}")
    return derived


def check_charges(view: JobView, derived: DerivedPage, booking: Value) -> None:
    """Raise JobRefusal unless accounts are charged what follows of the page, dataset by dataset."""
    said: Any = booking or {"grantee": view.initiator, "charges": []}
    booked = {one["input"]: one for one in said["charges"]}
    for one, owner in zip(view.spec.inputs, view.owners, strict=True):
        charge: Any = derived.charges[one.name]
        named = {"input": one.name, "grant": one.grant, "dataset": one.dataset, "version": one.version}
        follows = {**charge, **named, "owner": owner}
        charged = any(charge.values())
        if booked.pop(one.name, None) != (follows if charged else None):
            raise JobRefusal(
                "CHARGES_DIFFER",
                f"the account of {one.dataset} is charged otherwise on the ledger than follows of the page",
                dataset=one.dataset,
            )
    if booked or said["grantee"] != view.initiator:
        dataset = view.spec.inputs[0].dataset
        text = "the ledger charges inputs that the job does not have, or another grantee"
        raise JobRefusal("CHARGES_DIFFER", text, dataset=dataset)


def uses_said(uses: Mapping[str, str]) -> str:
    """Say columns with their uses."""
    return ", ".join(f"{column} as {use}" for column, use in sorted(uses.items())) or "no column"
