"""Mutants written by hand: each breaks one rule of the protocol that somebody may get wrong.

A row says which text of which function becomes what. White space does not matter; the text must occur once.
A row that does not apply any more, since its function was rewritten, is *stale*: the campaign fails until the
row says the same of the new text.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import pairwise

from tests.campaigns.edits import Edit, Mutant, Positions, Scope, one_line


@dataclass(frozen=True, slots=True)
class Row:
    """One mutant by hand."""

    name: str
    file: str
    """In `consensus/`, without its ending."""
    function: str
    pattern: str
    replacement: str


_TABLE: dict[tuple[str, str], tuple[tuple[str, str, str], ...]] = {
    ("restart", "_restore_votes"): (
        ("rs-prepared-lost", "slot.prepared = commit.prepared", "pass"),
        ("rs-commit-lost", "slot.commits[state.me] = commit.commit", "pass"),
        ("rs-prepare-lost", "slot.prepares[state.me] = prepare.prepare", "pass"),
        ("rs-accept-any-view", "and prepare.view == state.view", ""),
        ("rs-accept-inactive", "and state.active", ""),
    ),
    ("restart", "_restore_view"): (
        ("rs-reproposals-lost", "view_change.adopt_view(state, memory.new_view)", "pass"),
        ("rs-view-of-old-epoch", "and memory.new_view.epoch == state.epoch.first", ""),
        ("rs-view-change-lost", "state.view_changes[state.me] = change", "pass"),
        (
            "rs-asked-view-lost",
            "state.view, state.active, state.reproposals = change.view, False, {}",
            "pass",
        ),
    ),
    ("restart", "revive"): (
        ("rs-muting-forgotten", "state.lost.muted = memory.birth.muted", "pass"),
        (
            "rs-wiped-votes",
            "state.lost = LostVotes(listening=True, nonce=nonce)",
            "repair.settle_birth(state, None)",
        ),
    ),
    ("restart", "_restore_epoch"): (("rs-epoch-lost", "checkpoints.learn(state, entered)", "pass"),),
    ("view_change", "try_lead"): (("vc-wiped-leads", "or not state.votes_on(state.certified + 1)", ""),),
    ("view_change", "try_join"): (("vc-wiped-joins", "and state.votes_on(height)", ""),),
    ("view_change", "_ask_for"): (
        ("vc-hides-prepared", "tuple(slot.prepared for slot in slots if slot.prepared is not None)", "()"),
        (
            "vc-lowest-prepared-only",
            "tuple(slot.prepared for slot in slots if slot.prepared is not None)",
            "tuple(slot.prepared for slot in slots if slot.prepared is not None)[:1]",
        ),
        ("vc-view-change-not-durable", "state.out.put[VIEW_CHANGE] = encode(change)", "pass"),
    ),
    ("view_change", "_enter"): (
        ("vc-new-view-not-durable", "state.out.put[NEW_VIEW] = encode(message)", "pass"),
        ("vc-base-not-learnt", "_learn_all(state, message.view_changes)", "pass"),
    ),
    ("view_change", "adopt_view"): (
        ("vc-fresh-from-ignores-reproposals", "+ len(message.reproposals) + 1", "+ 1"),
    ),
    ("view_change", "on_new_view"): (("vc-enters-old-views", "if state.is_news(message)", "if True"),),
    ("view_change", "on_view_change"): (
        ("vc-older-replaces-newer", "(known.epoch, known.view) < (change.epoch, change.view)", "True"),
        ("vc-certificate-not-learnt", "_learn_all(state, (change,))", "pass"),
    ),
    ("view_change", "on_expired"): (("vc-asks-though-served", "event.wait == state.waiting()", "True"),),
    ("view_change", "_quorum_to_lead"): (
        ("vc-lead-q-1", "len(below) >= quorum", "len(below) >= quorum - 1"),
        ("vc-anyone-leads", "and state.rules.primary(state.view, base + 1) == state.me", ""),
        ("vc-leads-above-highest-only", "reverse=True)", "reverse=True)[:1]"),
    ),
    ("selection", "base_height"): (("sel-base-min", "max(", "min("),),
    ("selection", "choose_reproposals"): (
        ("sel-lowest-view", "_rank(item) > _rank(best)", "_rank(item) < _rank(best)"),
        (
            "sel-null-requests-skipped",
            "for height in range(base + 1, highest + 1)",
            "for height in sorted(latest)",
        ),
    ),
    ("selection", "view_to_join"): (
        ("sel-join-one", "len(higher) > faults", "len(higher) > 0"),
        ("sel-join-largest", "min(higher)", "max(higher)"),
    ),
    ("selection", "select_quorum"): (
        ("sel-quorum-without-base", "-certificate_height(change.certificate)", "0"),
    ),
    ("normal_case", "_ask_check"): (
        (
            "nc-reproposal-unchecked",
            "payload == NULL_REQUEST",
            "payload == NULL_REQUEST or slot.claim is None",
        ),
        (
            "nc-reproposal-of-executed-unjudged",
            "slot.committed is not None",
            "slot.committed is not None or (slot.height <= state.delivered and slot.claim is None)",
        ),
    ),
    ("normal_case", "_refuse"): (("nc-refuse-never-halts", "state.view > slot.committed_view", "False"),),
    ("normal_case", "advance_slot"): (
        ("nc-inactive-votes", "state.active and state.votes_on(slot.height)", "state.votes_on(slot.height)"),
    ),
    ("normal_case", "on_proposal"): (
        ("nc-proposal-at-reproposed", "and claim.height >= state.fresh_from", ""),
    ),
    ("normal_case", "on_prepare"): (
        ("nc-old-prepares", "prepare.view == state.view", "True"),
        (
            "nc-last-prepare-counts",
            "state.accuse(slot.prepares.setdefault(prepare.sender, prepare), prepare)",
            "slot.prepares[prepare.sender] = prepare",
        ),
    ),
    ("normal_case", "on_commit"): (
        ("nc-commit-after-higher-view", "known is None or commit.view > known.view", "True"),
    ),
    ("normal_case", "_commit"): (
        ("nc-commits-once", "and ours.view == state.view", ""),
        ("nc-commit-q-1", "len(votes) < quorum", "len(votes) < quorum - 1"),
        (
            "nc-commit-not-durable",
            "state.out.put[commit_key(slot.height)] = encode(CommitRow(slot.prepared, commit))",
            "pass",
        ),
    ),
    ("normal_case", "_prepare"): (
        ("nc-prepare-not-durable", "state.out.put[prepare_key(slot.height)] = encode(record)", "pass"),
        ("nc-payload-not-stored", "state.store_payload(slot, slot.digest)", "pass"),
        ("nc-prepares-unchecked", "slot.check is not Check.VALID or", ""),
    ),
    ("normal_case", "take_held"): (
        ("nc-held-prepare-unjudged", "state.rules.is_validator(prepare.sender, prepare.height)", "True"),
        ("nc-held-commit-unjudged", "state.rules.is_validator(commit.sender, commit.height)", "True"),
        (
            "nc-held-proposal-unjudged",
            "claim.sender == state.rules.primary(claim.view, claim.height)",
            "True",
        ),
    ),
    ("slot", "Slot.decide"): (
        ("slot-decide-any-view", "(vote.view, vote.payload_digest)", "(0, vote.payload_digest)"),
        ("slot-decide-q-1", "counts[subject] >= quorum", "counts[subject] >= quorum - 1"),
    ),
    ("slot", "Slot.prepare_votes"): (
        ("slot-any-prepare-counts", "if vote.payload_digest == self.digest", ""),
    ),
    ("state", "State.in_flight"): (
        ("slot-one-voter", "slot.voter_count() > self.rules.faults(slot.height)", "slot.voter_count() > 0"),
    ),
    ("state", "State.follow_epoch"): (
        ("st-epoch-keeps-view-changes", "if change.epoch >= epoch.first", ""),
        ("st-epoch-keeps-view", "self.leave_view(0, active=True)", "self.leave_view(self.view, active=True)"),
        ("st-epoch-row-lost", "self.out.put[EPOCH] = encode(self.certificate)", "pass"),
    ),
    ("state", "State.asking"): (("st-asking-any-epoch", "if change.epoch == self.epoch.first", ""),),
    ("state", "State.slot"): (
        (
            "st-slot-beyond-high-watermark",
            "height <= self.high_watermark",
            "height <= self.certified + self.rules.consensus_window",
        ),
    ),
    ("state", "State.votes_on"): (
        (
            "st-votes-while-muted",
            "self.lost.muted is None or self.rules.epoch(height).first > self.lost.muted",
            "True",
        ),
    ),
    ("state", "State.turn"): (
        ("st-turn-at-reproposed", "max(self.delivered + 1, self.fresh_from)", "self.delivered + 1"),
    ),
    ("repair", "answer_fetch"): (
        ("rp-promised-payload-unread", "fetch.payload_digest in slot.stored", "False"),
    ),
    ("state", "State.highest"): (
        ("st-target-hidden", "self.certificate if self.target is None else self.target", "self.certificate"),
    ),
    ("rules", "Rules.leaders"): (
        (
            "ru-nobody-passed-over",
            "leaders(self.validators(height), self.passed_over(min(height, U64_MAX)))",
            "self.validators(height)",
        ),
    ),
    ("repair", "_listen"): (
        ("rp-abstain-0", "settle_birth(state, state.epoch.first)", "settle_birth(state, None)"),
        (
            "rp-abstain-1W",
            "settle_birth(state, state.epoch.first)",
            "settle_birth(state, state.epoch.first - 1)",
        ),
        ("rp-listen-old-statuses", "status.answers == state.lost.nonce", "True"),
        ("rp-listen-q-1", "len(state.lost.heard) + 1 >=", "len(state.lost.heard) + 2 >="),
        ("rp-listen-anyone", "or status.sender not in voting", ""),
        ("rp-listen-other-epoch", "not here or", ""),
        ("rp-listen-unsettled", "or not state.rules.is_settled(following)", ""),
    ),
    ("checkpoints", "certify"): (
        ("ck-certify-q-1", "len(agreeing) >= quorum", "len(agreeing) >= quorum - 1"),
        ("ck-former-members-certify", "if vote.sender in voting", ""),
    ),
    ("checkpoints", "_collect_garbage"): (
        (
            "ck-forgets-uncertified",
            "for item in state.slots if item <= state.certified",
            "for item in state.slots if item <= state.executed",
        ),
    ),
    ("checkpoints", "_diverged"): (
        ("ck-diverges-silently", "if ours == certificate.header_hash", "if True"),
    ),
    ("authenticity", "Verifier.prepared"): (
        (
            "auth-prepared-q-1",
            "len(signers) != self._rules.quorum(item.height)",
            "len(signers) < self._rules.quorum(item.height) - 1",
        ),
        ("auth-prepared-duplicates", "signers != sorted(set(signers))", "False"),
        ("auth-prepared-unsigned", "self._signed(vote, item.height)", "pass"),
    ),
    ("authenticity", "Verifier._new_view"): (
        (
            "auth-nv-q-1",
            "len(senders) != self._rules.quorum(base + 1)",
            "len(senders) < self._rules.quorum(base + 1) - 1",
        ),
        ("auth-nv-duplicates", "senders != sorted(set(senders)) or", ""),
        (
            "auth-nv-other-view",
            "(change.epoch, change.view) != (message.epoch, message.view)",
            "change.epoch != message.epoch",
        ),
        (
            "auth-nv-other-epoch",
            "(change.epoch, change.view) != (message.epoch, message.view)",
            "change.view != message.view",
        ),
        ("auth-nv-anyone-leads", "message.sender != self._rules.primary(message.view, base + 1)", "False"),
        ("auth-nv-nested-unchecked", "self._view_change(change)", "pass"),
        ("auth-nv-unsigned", "self.signature(message)", "pass"),
        ("auth-nv-reproposals-believed", "message.reproposals != choose_reproposals(changes)", "False"),
    ),
    ("authenticity", "Verifier._view_change"): (
        ("auth-vc-certificate-unchecked", "self.certificate(message.certificate)", "pass"),
        ("auth-vc-prepared-unchecked", "self.prepared(item)", "pass"),
        ("auth-vc-unsigned", "self._signed(message, base + 1)", "pass"),
        ("auth-vc-prepared-in-its-view", "item.view >= message.view", "item.view > message.view"),
        ("auth-vc-any-epoch", "self._check_epoch(message, [base + 1, *heights])", "pass"),
    ),
    ("authenticity", "Verifier._in_window"): (
        ("auth-vc-any-window", "base < height <= base + self._rules.consensus_window", "base < height"),
    ),
    ("authenticity", "Verifier._proposal"): (
        ("auth-proposal-by-anyone", "claim.sender != self._rules.primary(claim.view, claim.height)", "False"),
    ),
    ("authenticity", "Verifier.check"): (
        ("auth-status-certificate-unchecked", "self.certificate(message.certificate)", "pass"),
    ),
    ("timers", "Timers.expired"): (("ti-hears-nobody-asks", "and not self._hears_quorum()", "and False"),),
    ("timers", "Timers.timeout"): (
        ("ti-timeout-not-doubled", "self._timing.timeout_ms << wasted", "self._timing.timeout_ms"),
        (
            "ti-timeout-uncapped",
            "min(self._timing.timeout_ms << wasted, self._timing.timeout_max_ms)",
            "self._timing.timeout_ms << wasted",
        ),
    ),
    ("driver", "Driver.on_message"): (
        ("dr-unverified", "self._verifier.check(message)", "pass"),
        ("dr-statuses-of-others", "isinstance(message, Status) and message.sender != peer", "False"),
    ),
    ("driver", "Driver._perform"): (
        (
            "dr-votes-deleted-too-early",
            "if effects.put",
            "self._deletes += effects.delete\n        if effects.put",
        ),
    ),
    ("driver", "Driver._stored_payload"): (("dr-own-payload-unread", "digest in slot.stored", "False"),),
    ("timers", "Timers._gives_up_at"): (
        ("ti-slow-primary-kept", "min(late, self._owed_since + max(0, left))", "late"),
    ),
}
"""(file, function) -> name, text, and what it becomes."""
ROWS = tuple(Row(name, *place, text, new) for place, rows in _TABLE.items() for name, text, new in rows)


def place(row: Row, source: str) -> Mutant | str:
    """Return the mutant of a row in the source of its file, or why the row is stale."""
    file = f"consensus/{row.file}.py"
    function = _functions(source).get(row.function)
    if function is None:
        return f"{row.name}: {file} has no function {row.function}"
    start, end = Positions(source).span(function)
    raw = source.encode()
    found = list(_pattern(row.pattern).finditer(raw[start:end].decode()))
    if len(found) != 1:
        return f"{row.name}: {file}, {row.function} holds {row.pattern!r} {len(found)} times, not once"
    text = raw[start:end].decode()
    at = start + len(text[: found[0].start()].encode())
    edit = Edit(at, at + len(found[0].group().encode()), row.replacement)
    if not Scope(source, function).takes(edit):
        return f"{row.name}: the changed {file} is not another Python program"
    lines = _statement_lines(function, text, found[0].start())
    return Mutant(
        row.name, file, row.function, "by hand", lines, one_line(row.pattern), one_line(row.replacement), edit
    )


def _functions(source: str) -> dict[str, ast.FunctionDef]:
    found: dict[str, ast.FunctionDef] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{item.name}": item for item in node.body if isinstance(item, ast.FunctionDef)
            }
    return found


def _pattern(text: str) -> re.Pattern[str]:
    words = re.findall(r"\w+|[^\w\s]", text)
    joined = re.escape(words[0])
    for before, word in pairwise(words):
        joined += (r"\s+" if re.match(r"\w", before[-1]) and re.match(r"\w", word) else r"\s*") + re.escape(
            word
        )
    left = r"(?<!\w)" if re.match(r"\w", words[0]) else ""
    right = r"(?!\w)" if re.match(r"\w", words[-1]) else ""
    return re.compile(left + joined + right)


def _statement_lines(function: ast.FunctionDef, text: str, offset: int) -> tuple[int, int]:
    """Return the lines of the innermost statement's head around a place of a function's text."""
    line = function.lineno + text[:offset].count("\n")
    best = (function.lineno, function.end_lineno or function.lineno)
    for node in ast.walk(function):
        if isinstance(node, ast.stmt) and node is not function:
            body = getattr(node, "body", None)
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
            if node.lineno <= line <= last and last - node.lineno <= best[1] - best[0]:
                best = (node.lineno, last)
    return best
