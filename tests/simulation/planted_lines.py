"""Faults of one line: a piece of a function's text is replaced, as a careless hand would do it.

These are the ones that tests of parts alone do not tell from the right text: what they break shows only with
liars that build messages, with power failures, or over a crash and a view change together.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from types import CodeType, FunctionType
from typing import Any

from consensus import authenticity, driver, normal_case, repair, restart, state, view_change
from tests.simulation.planted_functions import Patch, Plant


def line(says: str, function: Any, old: str, new: str, *, nodes: int | None = 4) -> Plant:
    """Return a fault that replaces one piece of a function's text."""
    return Plant(says, lambda: [edit(function, old, new)], nodes)


def edit(function: FunctionType, old: str, new: str) -> Patch:
    """Return the patch of a function whose text has `new` in place of `old`.

    It takes the function's code, so that whoever holds the function has it, too. Raises RuntimeError when
    the text does not have `old` exactly once: the fault no longer fits the code.
    """
    text = textwrap.dedent(inspect.getsource(function))
    if text.count(old) != 1:
        raise RuntimeError(f"{function.__qualname__}: {old!r} is there {text.count(old)} times, not once")
    flags = __future__.annotations.compiler_flag
    whole = compile(text.replace(old, new), inspect.getsourcefile(function) or "", "exec", flags)
    module = dict(vars(sys.modules[function.__module__]))
    exec(whole, module)  # noqa: S102  (our own source, one piece of it replaced)
    made = module[function.__name__]
    code: CodeType = made.__code__
    return function, "__code__", code


V, S = authenticity.Verifier, state.State
LINES: dict[str, Plant] = {
    "prepared-lost-in-restart": line(
        "a restart forgets what was prepared",
        restart._restore_votes,
        "        slot.prepared = commit.prepared\n",
        "        pass\n",
    ),
    "prepared-of-fewer": line(
        "a prepared proof may have one signature less",
        V.prepared,
        "!= self._rules.quorum(item.height)",
        "< self._rules.quorum(item.height) - 1",
    ),
    "prepared-signers-twice": line(
        "a signature may count twice in a prepared proof",
        V.prepared,
        "signers != sorted(set(signers))",
        "signers != sorted(signers)",
    ),
    "prepared-unsigned": line(
        "signatures in prepared proofs are not verified",
        V.prepared,
        "self._signed(vote, item.height)",
        "pass",
    ),
    "prepared-by-strangers": line(
        "whoever signed counts in a prepared proof",
        V.prepared,
        "self._signed(vote, item.height)",
        "self.signature(vote)",
    ),
    "prepared-in-later-view": line(
        "a view change may show what is prepared in the view that it asks for",
        V._view_change,
        "if item.view >= message.view:",
        "if False:",
    ),
    "view-change-certificate-unchecked": line(
        "the certificate in a view change is not checked",
        V._view_change,
        "self.certificate(message.certificate)",
        "pass",
    ),
    "view-change-of-strangers": line(
        "a view change may come from any key",
        V._view_change,
        "self._signed(message, base + 1)",
        "self.signature(message)",
    ),
    "view-change-epoch-unchecked": line(
        "a view change may name any epoch",
        V._view_change,
        "self._check_epoch(message, [base + 1, *heights])",
        "pass",
    ),
    "certificate-of-strangers": line(
        "where the set is unknown, a certificate of any signers counts",
        V.certificate,
        "set(signers) <= set(validators) and len(signers) >= self._rules.quorum(certificate.height)",
        "True",
    ),
    "new-view-of-fewer": line(
        "a new view may rest on one view change less",
        V._new_view,
        "len(senders) != self._rules.quorum(base + 1)",
        "len(senders) < self._rules.quorum(base + 1) - 1",
    ),
    "new-view-senders-twice": line(
        "a view change may count twice in a new view",
        V._new_view,
        "senders != sorted(set(senders))",
        "senders != sorted(senders)",
    ),
    "new-view-of-another-view": line(
        "a new view may rest on view changes to other views",
        V._new_view,
        "if any((change.epoch, change.view) != (message.epoch, message.view) for change in changes):",
        "if False:",
    ),
    "new-view-by-anyone": line(
        "anyone may lead a view",
        V._new_view,
        "if message.sender != self._rules.primary(message.view, base + 1):",
        "if False:",
    ),
    "new-view-nested-unchecked": line(
        "view changes inside a new view are not verified",
        V._new_view,
        "self._view_change(change)",
        "pass",
    ),
    "new-view-epoch-unchecked": line(
        "a new view may name any epoch",
        V._new_view,
        "self._check_epoch(message, [base + 1])",
        "pass",
        nodes=None,
    ),
    "wiped-hears-fewer": line(
        "a wiped replica votes after hearing one less than a quorum",
        repair._listen,
        "if len(state.lost.heard) + 1 >= state.rules.quorum(state.certified + 1):",
        "if len(state.lost.heard) + 2 >= state.rules.quorum(state.certified + 1):",
    ),
    "old-status-counts": line(
        "a wiped replica takes a status that answers nobody for one that answers it",
        repair._listen,
        "    elif status.answers == state.lost.nonce:\n",
        "    else:\n",
        nodes=7,
    ),
    "epoch-of-status-unchecked": line(
        "a wiped replica hears those who stand in another epoch",
        repair._listen,
        "    if not here or not state.rules.is_settled(following):\n",
        "    if False:\n",
        nodes=None,
    ),
    "reproposal-not-judged": line(
        "what a view proposes again is voted for without its transactions",
        normal_case._ask_check,
        "    elif payload == NULL_REQUEST:\n",
        "    elif payload == NULL_REQUEST or slot.claim is None:\n",
    ),
    "timer-on-one-vote": line(
        "one vote of anyone starts the timer",
        S.in_flight,
        "slot.voter_count() > self.rules.faults(slot.height)",
        "slot.voter_count() > 0",
    ),
    "old-vote-in-new-view": line(
        "a restart takes the PREPARE of an earlier view for one of this view",
        restart._restore_votes,
        "prepare.view == state.view and state.active",
        "state.active",
    ),
    "reproposals-lost-in-restart": line(
        "a restart forgets what the view proposes again",
        restart._restore_view,
        "        view_change.adopt_view(state, memory.new_view)\n",
        "        view_change.adopt_view(state, memory.new_view)\n        state.reproposals = {}\n",
    ),
    "votes-deleted-too-early": line(
        "votes are deleted by the write before that of the certificate in their place",
        driver.Driver._perform,
        "self._store.write(effects.put, self._deletes)",
        "self._store.write(effects.put, [*self._deletes, *effects.delete])",
    ),
    "promised-payload-not-served": line(
        "a payload is served from memory alone, though the vote store has it",
        repair.answer_fetch,
        "if payload is None and fetch.payload_digest in slot.stored:",
        "if False:",
    ),
    "certificate-not-learnt": line(
        "nobody learns from the certificate in a view change",
        view_change.on_view_change,
        "    _learn_all(state, (change,))\n",
        "",
    ),
    "leads-by-all-it-heard": line(
        "who leads hangs on the highest certificate that any view change shows",
        view_change._quorum_to_lead,
        "for base in sorted({certificate_height(change.certificate) for change in asking}, reverse=True):",
        "for base in [max((certificate_height(change.certificate) for change in asking), default=0)]:",
    ),
}
