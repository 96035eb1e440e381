"""Verifies an audit package offline: every proof, that they fit one another, and that nothing is beside."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import BinaryIO

from chain.audit import acts, pages, plans, schemas
from chain.audit.closure import Closure
from chain.audit.container import PackageDamaged, PackageMalformed
from chain.audit.freshness import Freshness, judge_statements
from chain.audit.reading import ForeignPackage, PackageReading, Unreadable
from chain.audit.records import Contents
from chain.audit.report import write_report
from chain.audit.skips import check_outcomes
from chain.audit.trail import org_named, value_of
from chain.ledger.genesis import Genesis, load_genesis
from chain.primitives.errors import AssentError, FileTrouble, ProofInvalid
from chain.primitives.files import open_regular
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value

FAILURES_MAX = 20
"""Failures after which reading ends: what is so broken is not read on."""
PARTS = ("genesis", "headers", "history", "transactions", "receipts", "states", "closure")
"""What every package is checked for."""


class Verdict(Enum):
    """What became of a package."""

    VALID = "valid"
    INVALID = "invalid"
    UNREADABLE = "unreadable"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Failure:
    """A proof that does not hold: the part of the package, and what broke."""

    part: str
    reason: str

    def __str__(self) -> str:
        return f"{self.part}: {self.reason}"


@dataclass(slots=True)
class VerificationReport:
    """What verification found; `ok` only if every proof holds."""

    verdict: Verdict = Verdict.VALID
    checked: Counter[str] = field(default_factory=Counter)
    """Proofs that hold, by part."""
    failures: list[Failure] = field(default_factory=list)
    contents: Contents | None = None
    """What the package says, only where every proof holds."""
    retraced: Sequence[plans.Retraced] = ()
    freshness: Freshness | None = None
    """What its head statements come to."""

    @property
    def ok(self) -> bool:
        """Whether every proof holds."""
        return self.verdict is Verdict.VALID

    @property
    def text(self) -> str:
        """The report for people; empty unless every proof holds."""
        return "" if self.contents is None else write_report(self.contents, self.retraced, self.freshness)

    def fail(self, part: str, reason: str, verdict: Verdict = Verdict.INVALID) -> None:
        """Note a proof that does not hold; raise Unreadable when there are too many."""
        self.verdict = verdict
        self.failures.append(Failure(part, reason))
        if len(self.failures) >= FAILURES_MAX:
            raise Unreadable("too much is broken to read on")

    def holds(self, part: str, proof: Callable[[], object]) -> bool:
        """Run a check; tell whether it holds."""
        try:
            proof()
        except AssentError as error:
            self.fail(part, str(error))
            return False
        return True

    def check(self, part: str, proof: Callable[[], object]) -> bool:
        """Run the check of one proof and count it; tell whether it holds."""
        held = self.holds(part, proof)
        self.checked[part] += held
        return held

    def require(self) -> None:
        """Raise ProofInvalid naming the first broken proof, if there is one."""
        if self.failures:
            more = f" (and {len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
            raise ProofInvalid(f"{self.failures[0]}{more}")


def verify(package: Path, genesis: Path) -> VerificationReport:
    """Verify a file against a genesis file the reader trusts.

    Raises ConfigError for a bad genesis file, and FileTrouble for a package that cannot be read: nothing is
    said then of what it holds.
    """
    trusted = load_genesis(genesis)
    try:
        with open_regular(package) as file:
            return verify_file(file, trusted)
    except OSError as error:
        raise FileTrouble(f"{package}: cannot be read ({error.strerror}); name an audit package") from None


def verify_bytes(data: bytes, genesis: Genesis) -> VerificationReport:
    """Verify a package's bytes; the report lists the proofs that do not hold."""
    return verify_file(io.BytesIO(data), genesis)


def verify_file(file: BinaryIO, genesis: Genesis) -> VerificationReport:
    """Verify a package that can be sought in; the report lists the proofs that do not hold."""
    report = VerificationReport()
    try:
        reading = PackageReading(file, genesis, report.check)
        contents = reading.run()
        _check_whole(reading, contents, report)
        if report.ok:
            report.contents = contents
    except PackageDamaged as error:
        report.verdict = Verdict.UNREADABLE
        report.failures.append(Failure("file", str(error)))
    except ForeignPackage as error:
        report.verdict = Verdict.FOREIGN
        report.failures.append(Failure("head", str(error)))
    except (PackageMalformed, Unreadable) as error:
        report.verdict = Verdict.INVALID
        report.failures.append(Failure("file", str(error)))
    return report


def _check_whole(reading: PackageReading, contents: Contents, report: VerificationReport) -> None:
    """Check what only the whole package tells: that all of it belongs together, and nothing else is there."""
    for part in ("validators", "skips", "schemas", "pages", "acts", "plans"):
        report.checked[part] += 0  # a package without any says so
    report.checked["entries"] = len(contents.entries)
    report.holds("validators", reading.check_sets)
    report.holds("headers", lambda: reading.check_used(contents))
    report.holds("transactions", lambda: _check_caused(reading, contents))
    report.holds("skips", lambda: check_outcomes(contents))
    report.check("closure", lambda: _check_closure(contents))
    report.holds("statements", lambda: _judge(reading, contents, report))
    _check_signers(contents, report)
    _each(report, "schemas", lambda: _schemas(contents))
    _each(report, "pages", lambda: _pages(contents))
    _each(report, "acts", lambda: _acts(contents))
    if report.ok:
        _check_plans(contents, report)


def _judge(reading: PackageReading, contents: Contents, report: VerificationReport) -> None:
    validators = reading.validators_at(contents.last)
    report.freshness = judge_statements(contents.statements, contents.genesis.chain_id, validators)


def _check_closure(contents: Contents) -> None:
    """What is there is what the events name: all of it, and nothing else."""
    held, closure = contents.states, Closure(contents, contents.states)
    for one in closure.missing:
        raise ProofInvalid(f"{one} is not in the package")
    for height, _, _ in [place for place in closure.logs if place not in held]:
        raise ProofInvalid(f"the state of the subject's log at height {height} is not in the package")
    for height, namespace, key in held.keys() - closure.wanted.keys() - set(closure.logs):
        raise ProofInvalid(
            f"state of {namespace} at height {height}, key {key.hex()[:40]}: nothing in the package names it"
        )


def _check_caused(reading: PackageReading, contents: Contents) -> None:
    """Each transaction caused an event, or a key saw by it what was done; and those are all there."""
    named = set(acts.transactions_named(contents.entries))
    for tx_id in reading.loose - named:
        raise ProofInvalid(f"transaction {tx_id.hex()[:16]}: it caused none of the events")
    for tx_id in named - contents.caused.keys():
        raise ProofInvalid(f"transaction {tx_id.hex()[:16]}, by which a key saw it, is not in the package")


def _each(report: VerificationReport, part: str, make: Callable[[], list[Callable[[], object]]]) -> None:
    """Run each check of a part; a history that cannot be read for it fails the part."""
    try:
        checks = make()
    except AssentError as error:
        report.fail(part, str(error))
        return
    for check in checks:
        report.check(part, check)


def _schemas(contents: Contents) -> list[Callable[[], object]]:
    """What is declared of each version must be there, and whole schemas must make their seals."""
    known = _values(contents, schemas.CONTRACT)
    used = schemas.versions_used(contents.subject, contents.entries)
    return [partial(schemas.check_version, one, known) for one in used]


def _pages(contents: Contents) -> list[Callable[[], object]]:
    """The pages that the history names must be there, each with the text of its hash."""
    known = _values(contents, pages.CONTRACT)
    return [partial(pages.check_page, page, known) for page in pages.pages_named(contents.entries)]


def _acts(contents: Contents) -> list[Callable[[], object]]:
    """Count the keys that saw an act again, and look whether an organisation did anything by fewer."""
    acts.check_none_alone(contents)
    return [partial(acts.check_act, contents, one) for one in acts.acts_done(contents.entries)]


def _check_plans(contents: Contents, report: VerificationReport) -> None:
    """Trace pages again: only where every proof holds, so it was paid for."""
    try:
        report.retraced = plans.retrace(contents)
    except ProofInvalid as error:
        report.fail("plans", str(error))
        return
    for one in report.retraced:
        if one.traced:
            report.check("plans", one.require)


def _check_signers(contents: Contents, report: VerificationReport) -> None:
    for sender in dict.fromkeys(one.sender for one in contents.caused.values()):
        place = (contents.last, "orgs", map_key("keys", sender.hex()))
        if place in contents.states:
            report.check("signers", partial(org_named, contents.states[place], sender))


def _values(contents: Contents, namespace: str) -> dict[bytes, Value]:
    return {key: value_of(row) for key, row in contents.at_last(namespace).items()}
