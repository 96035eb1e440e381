"""State machine of one job at one participant: pure, between the ledger and this agent.

The ledger decides what state a job is in; this machine decides what this organisation does about it. It does
no input or output: it is given what the node proves (`on_view`), what was done here (`on_done`) and the time
(`on_time`), and answers with actions. Because every decision is taken from the ledger's state, the machine of
a restarted agent starts from the same place; what it needs beyond that is in `Recovered`.

| ledger shows | we are      | unless          | so we                                                      |
|--------------|-------------|-----------------|------------------------------------------------------------|
| proposed     | participant | accepted        | CheckPhase(accepted) → accept, or StopJob (reject, cause)  |
| accepted     | participant | met             | PrepareInput, if owner (read data, check root, commit) →   |
|              |             |                 | Meet, until every party has a slot; RecheckRun meanwhile   |
| accepted     | owner, met  | bound           | bind                                                       |
| accepted     | met         | running soon    | GiveSlotBack → Meet                                        |
| running      | participant | transcript sent | CheckPhase(running) → Compute (connect, begin_join, run);  |
|              |             |                 | an owner that knows how many rows joined → judge_join;     |
|              |             |                 | each stage → commit_stage, at last commit_transcript;      |
|              |             |                 | RecheckRun now and then: what was allowed may be revoked   |
| computed     | owner       | approved        | VerifyTranscripts → CheckPhase(reveal) → approve_reveal    |
| revealed     | participant | released        | ReleaseShares: the reveal gate; others ask, and so do we   |
| revealed     | receiver    | committed       | commit_result                                              |
| committed    | participant | signed          | SignCertificate (digest rebuilt from proofs) → certify     |
| disputed     | any         |                 | wait                                                       |
| certified    | any         |                 | FinishJob; what is sealed stays for a stated time          |
| expired      | any         | not revealed    | the same: a receiver that could not write asks for it      |
| ended before | any         |                 | DestroyShares that are left → FinishJob                    |
| aborted or   | owner, not  | we sent, or no  | DestroyShares → disclaim, so that the runs may return,     |
| expired      | initiator   | join had begun  | → FinishJob                                                |

A method in lower case is called by SendCall.
Any failure becomes StopJob: shares are destroyed first, then the ledger is told why. A restart in the midst
of a computation is such a failure (`AGENT_RESTARTED`): the abort names us, and a used run stays used. One
after it is none: what we hold was sealed before the transcript was committed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from privcompute.causes import LEDGER_REFUSED, Filed, filed
from privcompute.job.actions import (
    Action,
    CallRefused,
    CallSent,
    CertificateSigned,
    CheckPhase,
    Compute,
    ComputeDone,
    DestroyShares,
    Done,
    FinishJob,
    GiveSlotBack,
    InputPrepared,
    JoinJudged,
    Meet,
    Met,
    PhaseChecked,
    PrepareInput,
    RecheckRun,
    Recovered,
    ReleaseShares,
    RunAllowed,
    SendCall,
    SharesReleased,
    SignCertificate,
    StageDone,
    StepFailed,
    StopComputing,
    StopJob,
    TranscriptsVerified,
    VerifyTranscripts,
)
from privcompute.job.enforcement import JobRefusal
from privcompute.job.joining import is_join
from privcompute.job.view import (
    ACCEPTED,
    CERTIFIED,
    COMMITTED,
    COMPUTED,
    DISPUTED,
    PROPOSED,
    REVEALED,
    RUNNING,
    JobView,
)

EXPIRE_GRACE_MS = 3_000
EXPIRE_RETRY_MS = 10_000
RECHECK_MS = 5_000
"""How long data may be computed on after our node shows that it no longer may: a check is a score of proved
reads."""
RECHECK = "recheck"
BEGIN_MS = 60_000
"""How long a slot is kept for a job after all have met: to bind is one call of each owner."""
RESTARTED = filed("AGENT_RESTARTED", {})
_ENDED_ELSEWHERE = frozenset({"WRONG_STATE", "DEADLINE_PASSED", "ALREADY_ACCEPTED", "ALREADY_SIGNED"})
"""Refusals that say the ledger has moved on: the next view tells how."""


class JobMachine:
    """State machine of one job for one organisation."""

    def __init__(self, me: str, recovered: Recovered | None = None) -> None:
        """`recovered` is what an earlier life of this agent wrote down."""
        self._me = me
        self._view: JobView | None = None
        self._begun: set[str] = set()
        self._refused: set[str] = set()
        self._plans: dict[str, bytes] = {}
        """Phase that was allowed -> the plan that followed then."""
        recovered = recovered or Recovered()
        self._commitment = recovered.commitment
        self._sent = recovered.computing
        self._lost = recovered.computing and recovered.computed is None
        self._result = recovered.result
        self._released = False
        self._stages = list(recovered.stages)
        self._stages_sent = 0
        self._computed = recovered.computed
        self._resumed = recovered.computed is not None
        self._verified = False
        self._signed: CertificateSigned | None = None
        self._stopping = self._ending = self._finished = False
        self._expire_at_ms = 0
        self._met = False
        self._met_at_ms = 0
        """0 before the first tick since we met."""
        self._rechecks = False
        """We meet or compute, and await no answer to a recheck."""
        self._recheck_at_ms = 0
        """0 before the first tick since the last answer."""
        self._by_state: dict[str, Callable[[JobView], list[Action]]] = {
            PROPOSED: self._on_proposed,
            ACCEPTED: self._on_accepted,
            RUNNING: self._on_running,
            COMPUTED: self._on_computed,
            REVEALED: self._on_revealed,
            COMMITTED: self._on_committed,
            DISPUTED: lambda _: [],
        }

    @property
    def view(self) -> JobView | None:
        """What the ledger last showed."""
        return self._view

    @property
    def finished(self) -> bool:
        """The job is over for us."""
        return self._finished

    def on_view(self, view: JobView) -> list[Action]:
        """Take in what our node proves about the job now."""
        known = self._view
        if known is not None and (known.state, known.entered_height) != (view.state, view.entered_height):
            self._begun -= self._refused  # a dispute that was dismissed lets us try again
            self._refused.clear()
            self._expire_at_ms = 0
        self._view = view
        return self._next()

    def on_time(self, now_ms: int) -> list[Action]:
        """Do what time asks for; `now_ms` is since the epoch.

        It triggers the deadline of a state that nobody else ended, and asks again whether we may compute: a
        grant that is revoked or expires, or a member that is suspended, changes nothing of the job's record.
        """
        view = self._view
        if view is None or view.is_final:
            return []
        if now_ms < view.deadline_ms + EXPIRE_GRACE_MS:
            return self._meet_anew(view, now_ms) or self._recheck(view, now_ms)
        if now_ms < self._expire_at_ms:
            return []
        self._expire_at_ms = now_ms + EXPIRE_RETRY_MS
        return [StopComputing("deadline"), SendCall("expire", "expire")]

    def note_sending(self) -> None:
        """Take in that our first message about data leaves now: we shall not state the contrary."""
        if self._ending:
            raise JobRefusal("STOPPED", "the job ended before we sent anything")
        self._sent = True

    def on_done(self, done: Done) -> list[Action]:
        """Take in one completed, refused or failed action."""
        match done:
            case StepFailed(cause, text):
                return self._stop(cause, text)
            case CallRefused(key, code):
                return self._on_refused(key, code)
            case CallSent(key):
                self._stages_sent += key.startswith("stage-")
            case PhaseChecked(phase, plan):
                self._plans[phase] = plan
            case InputPrepared(commitment):
                self._commitment = commitment
            case Met():
                self._met, self._met_at_ms = True, 0
            case RunAllowed():
                self._rechecks, self._recheck_at_ms = True, 0
            case JoinJudged(suffices):
                return self._send("judge_join", suffices=suffices)
            case StageDone():
                self._stages.append(done)
            case ComputeDone():
                self._computed = done
            case TranscriptsVerified():
                self._verified = True
            case SharesReleased(result):
                self._result, self._released = result, True
            case CertificateSigned():
                self._signed = done
        return self._next()

    # --- decisions --------------------------------------------------------------------------------

    def _next(self) -> list[Action]:
        view = self._view
        if view is None or self._finished:
            return []
        if view.is_final:
            return self._on_final(view)
        if self._stopping:
            return []
        decide = self._by_state.get(view.state)
        return decide(view) if decide else []

    def _on_final(self, view: JobView) -> list[Action]:
        self._ending = True
        stopped = view.state in ("aborted", "expired") and view.join_height > 0
        ours = self._me in view.owners and self._me != view.initiator and self._me not in view.disclaimed
        if stopped and ours and not self._sent:
            return self._once("destroy", DestroyShares(view.state)) + self._send("disclaim")
        self._finished = True
        if view.state == CERTIFIED or view.may_release:
            return [FinishJob(view.state)]
        return [DestroyShares(view.state), FinishJob(view.state)]

    def _on_proposed(self, view: JobView) -> list[Action]:
        if self._me in view.accepted:
            return []
        if "accepted" not in self._plans:
            return self._once("check-accepted", CheckPhase("accepted"))
        return self._send("accept", plan=self._plans["accepted"])

    def _on_accepted(self, view: JobView) -> list[Action]:
        binds = self._me in view.owners and self._me not in view.bound
        if binds and self._commitment is None:
            return self._once("prepare", PrepareInput())
        if not self._met:
            self._rechecks = self._rechecks or "meet" not in self._begun
            return self._once("meet", Meet())
        return self._send("bind", commitment=self._commitment) if binds else []

    def _on_running(self, view: JobView) -> list[Action]:
        if self._lost:
            return self._stop(RESTARTED, "this agent restarted before its shares were sealed")
        if self._me in view.transcripts:
            return []
        if self._computed is not None:
            return self._judged_once_restarted(view) + self._report_stages()
        if "running" not in self._plans:
            return self._once("check-running", CheckPhase("running"))
        return self._once("compute", Compute()) or self._report_stages()

    def _meet_anew(self, view: JobView, now_ms: int) -> list[Action]:
        """Give our slot back when the job does not begin: somebody did not bind, or disputes it."""
        if not self._met or self._stopping or view.state not in (ACCEPTED, DISPUTED):
            return []
        if self._met_at_ms == 0:
            self._met_at_ms = now_ms
        if 0 <= now_ms - self._met_at_ms < BEGIN_MS:
            return []
        self._met = False
        self._begun.discard("meet")
        return [GiveSlotBack(), *self._next()]

    def _judged_once_restarted(self, view: JobView) -> list[Action]:
        """State again, of rows that were computed on, that they suffice: it may not have been sent."""
        joined = self._resumed and bool(self._stages) and is_join(self._stages[0].kind)
        return self._send("judge_join", suffices=True) if joined and self._me in view.owners else []

    def _recheck(self, view: JobView, now_ms: int) -> list[Action]:
        waiting = view.state == ACCEPTED and not self._met
        computing = view.state == RUNNING and self._computed is None
        if self._stopping or not ((waiting or computing) and self._rechecks):
            return []
        if self._recheck_at_ms == 0:
            self._recheck_at_ms = now_ms + RECHECK_MS
        if 0 < self._recheck_at_ms - now_ms <= RECHECK_MS:  # further ahead, the clock was set back
            return []
        self._rechecks = False
        return [RecheckRun()]

    def _report_stages(self) -> list[Action]:
        actions: list[Action] = []
        for one in self._stages:
            send = SendCall(
                f"stage-{one.stage}",
                "commit_stage",
                {
                    "stage": one.stage,
                    "kind": one.kind,
                    "hash": one.hash,
                    "previous": one.previous,
                    "bytes_sent": one.sent,
                    "rounds": one.rounds,
                    "cpu_ms": one.cpu_ms,
                },
            )
            actions += self._once(send.key, send)
        done = self._computed
        if done is not None and self._stages_sent == done.stages:
            actions += self._send("commit_transcript", profile=done.profile, channels=dict(done.channels))
        return actions

    def _on_computed(self, view: JobView) -> list[Action]:
        if self._computed is None:
            return self._stop(RESTARTED, "this agent restarted, and its sealed shares are gone")
        if self._me not in view.owners or self._me in view.reveals:
            return []
        if not self._verified:
            return self._once("verify", VerifyTranscripts())
        if "reveal" not in self._plans:
            return self._once("check-reveal", CheckPhase("reveal"))
        return self._send("approve_reveal")

    def _on_revealed(self, view: JobView) -> list[Action]:
        if self._me in view.results:
            return []
        if self._result is not None:
            result = self._result
            return self._send(
                "commit_result", hash=result.hash, schema=result.schema, metrics=dict(result.metrics)
            )
        return [] if self._released else self._once("release", ReleaseShares())

    def _on_committed(self, view: JobView) -> list[Action]:
        if self._me in view.signed:
            return []
        if self._signed is None:
            return self._once("sign", SignCertificate())
        return self._send("certify", digest=self._signed.digest, signature=self._signed.signature)

    # --- helpers ----------------------------------------------------------------------------------

    def _once(self, key: str, action: Action) -> list[Action]:
        if key in self._begun:
            return []
        self._begun.add(key)
        return [action]

    def _send(self, method: str, **args: Any) -> list[Action]:
        return self._once(method, SendCall(method, method, args))

    def _on_refused(self, key: str, code: str) -> list[Action]:
        if key == "disclaim":
            self._sent = True  # too late, or the ledger knows better: there is nothing left to state
            return self._next()
        if key == "expire":
            return []  # too early by the ledger's clock, or ended meanwhile: asked again later
        if key == RECHECK:
            return self.on_done(RunAllowed())  # a dispute that is dismissed lets the run go on
        if code in _ENDED_ELSEWHERE:
            self._refused.add(key)
            return []
        cause = filed(LEDGER_REFUSED, {"step": key, "code": code})
        return self._stop(cause, f"the ledger refused {key}: {code}")

    def _stop(self, cause: Filed, text: str) -> list[Action]:
        if self._stopping or self._ending or self._view is None:
            return []
        self._stopping = True
        method = "reject" if self._view.state == PROPOSED else "abort"
        return [DestroyShares(cause.code), StopJob(method, cause, text)]
