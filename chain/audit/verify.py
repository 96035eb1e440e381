"""Verifies an audit package offline: every proof, and that the proofs fit one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chain.audit import acts, pages, plans, schemas
from chain.audit.container import PACKAGE_BYTES_MAX, PackageDamaged, read_container
from chain.audit.evidence import called_contracts, record_keys, source_hashes
from chain.audit.package import read_package
from chain.audit.records import Contents, StateAt
from chain.audit.report import nodes_of_set, write_report
from chain.audit.skips import check_complete, check_skip
from chain.audit.trail import org_of, state_value
from chain.ledger.block import transaction_id
from chain.ledger.genesis import Genesis, load_genesis
from chain.ledger.proof.proofs import ProvedHistory, SetChange
from chain.ledger.proof.verifier import ProofVerifier
from chain.primitives.codec import encode
from chain.primitives.errors import AssentError, FileTrouble, ProofInvalid
from chain.primitives.files import read_bounded
from chain.primitives.runtimeport import map_key

FAILURES_MAX = 100
"""Failures listed; the rest are only counted."""
_ACTIVE = b"active/"
"""What the keys of `lifecycle`'s Map `active` start with."""


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

    subject: str = ""
    first: int = 0
    last: int = 0
    checked: Counter[str] = field(default_factory=Counter)
    """Proofs that hold, by part."""
    failures: list[Failure] = field(default_factory=list)
    failed: int = 0
    events: int = 0
    """Events of the subject that the package holds."""
    text: str = ""
    """The package's plain-language report, to be read only when `ok`."""

    @property
    def ok(self) -> bool:
        """Whether every proof holds."""
        return self.failed == 0

    def fail(self, part: str, reason: str) -> None:
        """Note a proof that does not hold."""
        self.failed += 1
        if len(self.failures) < FAILURES_MAX:
            self.failures.append(Failure(part, reason))

    def check(self, part: str, proof: Callable[[], object]) -> bool:
        """Run one check and count it; tell whether it holds."""
        try:
            proof()
        except AssentError as error:
            self.fail(part, str(error))
            return False
        self.checked[part] += 1
        return True

    def require(self) -> None:
        """Raise ProofInvalid naming the first broken proof, if there is one."""
        if self.failures:
            more = f" (and {self.failed - 1} more)" if self.failed > 1 else ""
            raise ProofInvalid(f"{self.failures[0]}{more}")


def verify(package: Path, genesis: Path) -> VerificationReport:
    """Verify a file against a genesis file the reader trusts.

    Raises ConfigError for a bad genesis file, and FileTrouble for a package that cannot be read: nothing is
    said then of what it holds.
    """
    trusted = load_genesis(genesis)
    try:
        data = read_bounded(package, PACKAGE_BYTES_MAX)
    except OSError as error:
        raise FileTrouble(f"{package}: cannot be read ({error.strerror}); name an audit package") from None
    return verify_bytes(data, trusted)


def verify_bytes(data: bytes, genesis: Genesis) -> VerificationReport:
    """Verify a package's bytes; the report lists every proof that does not hold."""
    report = VerificationReport()
    try:
        container = read_container(data)
    except PackageDamaged as error:
        part, _, reason = str(error).partition(": ")
        report.fail(part, reason)
        return report
    manifest = container.manifest
    report.subject, report.first, report.last = manifest.subject, manifest.first, manifest.last
    reading = read_package(container)
    for part, reason in reading.faults:
        report.fail(part, reason)
    if manifest.chain_id != genesis.chain_id:
        report.fail(
            "manifest", f"chain {manifest.chain_id.hex()}, the genesis given has {genesis.chain_id.hex()}"
        )
    elif reading.contents is not None:
        _verify_contents(reading.contents, genesis, report)
        report.text, report.events = reading.contents.report, len(reading.contents.entries)
    return report


def _verify_contents(contents: Contents, genesis: Genesis, report: VerificationReport) -> None:
    verifier = ProofVerifier(genesis)
    report.check("genesis", lambda: _check_genesis(contents, genesis))
    report.check("validators", lambda: _follow_validators(contents, verifier))
    report.check("history", lambda: verifier.check_history(_history(contents)))
    checks: tuple[tuple[str, Iterable[Any], Callable[[Any], object]], ...] = (
        ("headers", contents.headers.values(), verifier.check_header),
        (
            "transactions",
            contents.transactions,
            lambda item: verifier.check_transaction(contents.proved_transaction(item)),
        ),
        ("receipts", contents.receipts, lambda item: verifier.check_receipt(contents.proved_receipt(item))),
        ("states", contents.states, lambda item: verifier.check_state(contents.proved_state(item))),
        ("skips", contents.skips, lambda item: check_skip(contents, verifier, item)),
    )
    for part, items, check in checks:
        for item in items:
            report.check(part, partial(check, item))
    _check_skips(contents, report)
    _check_links(contents, report)
    _check_acts(contents, report)
    if report.ok:
        _check_plans(contents, report)


def _check_plans(contents: Contents, report: VerificationReport) -> None:
    """Trace pages again, then write the report again: only where every proof holds, so it was paid for."""
    report.checked["plans"] += 0  # a package without any says so
    try:
        retraced = plans.retrace(contents)
    except ProofInvalid as error:
        report.fail("plans", str(error))
        return
    for one in retraced:
        if one.traced:
            report.check("plans", one.require)
    report.check("report", lambda: _check_report(contents, retraced))


def _check_acts(contents: Contents, report: VerificationReport) -> None:
    """Count the keys that saw an act again, and look whether an organisation did anything by fewer."""
    report.checked["acts"] += 0  # a package without any says so
    try:
        done = acts.acts_done(contents.entries)
        acts.check_none_alone(contents)
    except ProofInvalid as error:
        report.fail("acts", str(error))
        return
    for one in done:
        report.check("acts", partial(acts.check_act, contents, one))


def _check_skips(contents: Contents, report: VerificationReport) -> None:
    report.checked["skips"] += 0  # a package without any says so
    try:
        check_complete(contents)
    except ProofInvalid as error:
        report.fail("skips", str(error))


def _history(contents: Contents) -> ProvedHistory:
    before = contents.log.before
    return ProvedHistory(
        subject=contents.subject,
        first=contents.first,
        last=contents.last,
        before=None if before is None else contents.proved_state(before),
        after=contents.proved_state(contents.log.after),
        entries=contents.entries,
    )


def _check_genesis(contents: Contents, genesis: Genesis) -> None:
    if encode(contents.genesis) != encode(genesis):
        raise ProofInvalid("the package's genesis is not the one given")


def _follow_validators(contents: Contents, verifier: ProofVerifier) -> None:
    """Follow the sets from that of the genesis on, each named by a header certified before it."""
    founding = [(span.from_height, span.validators) for span in contents.validators[:1]]
    if founding != [(0, verifier.founders)]:
        raise ProofInvalid("the first validator set is not the one that the genesis gives")
    for change in contents.set_changes():
        verifier.follow(change)
    for change in contents.set_changes():
        _check_named(contents, change)


def _check_named(contents: Contents, change: SetChange) -> None:
    """The state must show whose nodes a set's keys are."""
    height, what = change.header.headers[0].height, f"validators from height {change.first}"
    if [node.public_key for node in nodes_of_set(contents, change.first, height)] != list(change.validators):
        raise ProofInvalid(f"{what}: the state entry that names their nodes has other keys")


def _check_links(contents: Contents, report: VerificationReport) -> None:
    """Check that entries, receipts, transactions, signers and sources belong together."""
    receipts = {item.receipt.tx_id: item.receipt for item in contents.receipts}
    placed = {transaction_id(item.transaction.body): item for item in contents.transactions}
    for number, entry in enumerate(contents.entries):
        if entry.height == 0:
            continue  # installed by the genesis: no transaction, proved by the log alone
        receipt, tx = receipts.get(entry.tx_id), placed.get(entry.tx_id)
        what = f"entry {number} (height {entry.height}, {entry.event.contract}.{entry.event.name})"
        if receipt is None or tx is None:
            report.fail("entries", f"{what}: its transaction or receipt is not in the package")
        elif receipt.events[entry.index : entry.index + 1] != (entry.event,):
            report.fail("entries", f"{what}: its receipt does not hold this event")
        elif (receipt.height, receipt.index) != (entry.height, tx.path.index) or tx.height != entry.height:
            report.fail("entries", f"{what}: receipt, transaction and entry stand at different positions")
        else:
            report.checked["entries"] += 1
    _check_signers(contents, report)
    _check_records(contents, report)
    _check_schemas(contents, report)
    _check_pages(contents, report)
    _check_sources(contents, report)


def _check_records(contents: Contents, report: VerificationReport) -> None:
    """The records about the subject, and the contracts that had a say, must be there (or their absence)."""
    callers = called_contracts(contents.entries, contents.transactions)
    wanted = record_keys(contents.subject, contents.last)
    wanted += [("lifecycle", "active", name, contents.last) for name in callers]
    held = {(item.namespace, item.key, item.height) for item in contents.states}
    for contract, map_name, key, height in wanted:
        if (contract, map_key(map_name, key), height) not in held:
            report.fail("states", f"{contract}.{map_name}[{key}] at height {height} is not in the package")


def _check_schemas(contents: Contents, report: VerificationReport) -> None:
    """What is declared of each version must be there, and whole schemas must make their seals."""
    shown = [item for item in contents.states if item.namespace == schemas.CONTRACT]
    known = {item.key: _value(item, contents, report) for item in shown if item.height == contents.last}
    report.checked["schemas"] += 0  # a package without any says so
    try:
        used = schemas.versions_used(contents.subject, contents.entries)
    except ProofInvalid as error:
        report.fail("schemas", str(error))
        return
    for one in used:
        report.check("schemas", partial(schemas.check_version, one, known))


def _check_pages(contents: Contents, report: VerificationReport) -> None:
    """The pages that the history names must be there, each with the text of its hash."""
    shown = [item for item in contents.states if item.namespace == pages.CONTRACT]
    known = {item.key: _value(item, contents, report) for item in shown if item.height == contents.last}
    report.checked["pages"] += 0  # a package without any says so
    try:
        carried = pages.pages_carried(contents.entries)
    except ProofInvalid as error:
        report.fail("pages", str(error))
        return
    for page in carried:
        report.check("pages", partial(pages.check_page, page, known))


def _check_signers(contents: Contents, report: VerificationReport) -> None:
    shown = [item for item in contents.states if item.namespace == "orgs" and item.height == contents.last]
    keys = {item.key: item for item in shown}
    for sender in sorted({item.transaction.body.sender for item in contents.transactions}):
        found = keys.get(map_key("keys", sender.hex()))
        if found is None:
            report.fail("states", f"key {sender.hex()[:16]}: the package does not show whose it is")
        else:
            report.check("signers", partial(_org, contents, found, sender))


def _org(contents: Contents, item: StateAt, sender: bytes) -> str:
    return org_of(contents.proved_state(item), sender)


def _check_sources(contents: Contents, report: VerificationReport) -> None:
    """Every version of a contract that the package shows must come with its source."""
    held = {item.key for item in contents.states if item.namespace == "lifecycle" and item.value is not None}
    for item in contents.states:
        if item.namespace != "lifecycle" or not item.key.startswith(_ACTIVE):
            continue
        for found in source_hashes(_value(item, contents, report)):
            if map_key("sources", found) not in held:
                report.fail(
                    "states", f"source {found.hex()[:16]}: a contract in force is in the package without it"
                )


def _value(item: StateAt, contents: Contents, report: VerificationReport) -> object:
    try:
        return state_value(contents.proved_state(item))
    except AssentError as error:
        report.fail("states", str(error))
        return None


def _check_report(contents: Contents, retraced: Sequence[plans.Retraced]) -> None:
    if write_report(contents, retraced) != contents.report:
        raise ProofInvalid("its text is not what the proofs say")
