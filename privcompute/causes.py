"""Causes: every reason for which a job ends before its result, as the ledger and as people have it.

A party files a code and a few facts (`jobs.reject`, `jobs.abort`). Both are bytes of a member, so whoever
reads them checks them by this table. No fact tells more of data than the grants and the spec do: the number
of joined rows, a value or a path is never among them. What is filed is its party's word alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chain.primitives.values import Value
from privcompute.errors import Fact

FIGURE_MAX = 2**63 - 1
CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
"""What the contract `jobs` takes as a cause."""
INTERNAL = "INTERNAL_FAULT"
LEDGER_REFUSED = "LEDGER_REFUSED"
CANCELLED = "CANCELLED"
NOTE_CHARS_MAX = 128


@dataclass(frozen=True, slots=True)
class Field:
    """One kind of fact: a text of a pattern, or a number within bounds."""

    unknown: str
    """Words that stand for it where it was not filed."""
    pattern: str = ""
    """Of the whole text; "" for a number."""
    least: int = 0

    def holds(self, fact: Value) -> bool:
        """Tell whether a value, of anybody, is such a fact."""
        if not self.pattern:
            return type(fact) is int and self.least <= fact <= FIGURE_MAX
        return type(fact) is str and fact.isprintable() and re.fullmatch(self.pattern, fact) is not None


_ID = r"[a-z0-9][a-z0-9._-]{0,63}"
_NAME = rf"{_ID}/[a-z0-9][a-z0-9._-]{{0,62}}"
_WORD = r"[a-z][a-z0-9._-]{0,63}"
_NUMBER = r"[0-9][0-9.e-]{0,31}"
FIELDS: Mapping[str, Field] = {
    "org": Field("another party", _ID),
    "other": Field("a further party", _ID),
    "grant": Field("a grant", _NAME),
    "dataset": Field("a dataset", _NAME),
    "version": Field("its version", least=1),
    "column": Field("a column", r".{1,64}"),
    "use": Field("in another way", _WORD),
    "allowed": Field("otherwise", _WORD),
    "granted": Field("less", _NUMBER),
    "asked": Field("more", _NUMBER),
    "profile": Field("its profile", _ID),
    "least": Field("its minimum", least=0),
    "limit": Field("its limit", least=0),
    "stage": Field("a stage", _WORD),
    "step": Field("a step", r"[a-z][a-z0-9_-]{0,63}"),
    "code": Field("a code", CODE.pattern),
    "error": Field("an error", r"[A-Za-z_][A-Za-z0-9_]{0,63}"),
    "note": Field("no words", rf".{{0,{NOTE_CHARS_MAX}}}"),
    "dispute": Field("of unknown number", least=1),
    "kind": Field("unknown", _ID),
}
"""Name of a fact -> what it may be; each means one thing, whatever the cause."""
EVERYWHERE = frozenset({"stage"})
"""What the detail of each cause may tell besides its own facts."""


@dataclass(frozen=True, slots=True)
class EndCause:
    """One reason for the end of a job."""

    code: str
    says: str
    """A sentence; `{by}` is who ended the job, other names in braces are facts."""
    remedy: str
    fields: frozenset[str] = field(default_factory=frozenset)

    def fits(self, detail: Mapping[str, Value]) -> bool:
        """Tell whether a detail, of anybody, holds facts of this cause alone, each within its bounds."""
        known = self.fields | EVERYWHERE
        return all(name in known and FIELDS[name].holds(fact) for name, fact in detail.items())

    def sentence(self, by: str, detail: Mapping[str, Value]) -> str:
        """Return what happened in words; facts that were not filed, or do not fit, become general words."""
        facts = detail if self.fits(detail) else {}
        words = {name: FIELDS[name].unknown for name in self.fields}
        return self.says.format(by=by, **{**words, **{name: _shown(name, facts[name]) for name in facts}})


def _shown(name: str, fact: Value) -> str:
    if type(fact) is int:
        return f"{fact:,}"
    return f"'{fact}'" if name in ("column", "note") else str(fact)


def _row(code: str, says: str, remedy: str, *fields: str) -> EndCause:
    return EndCause(code, says, remedy, frozenset(fields))


_ASK_GRANT = "see its terms: assent grant show; wider terms need a new grant: assent grant request"
_NEW_GRANT = "request a new grant: assent grant request"
_AGAIN = "propose the job again"
_LOOK = "its operator looks into the log of that agent, which says more"
_PEER = "the operator of the named party looks at its agent and its network; then propose the job again"

_OF_PARTIES = (
    _row("NOT_PARTICIPANT", "{by} found that it takes no part in the job.", _LOOK),
    _row(
        "ORG_NOT_ACTIVE",
        "{by} found that {org} is no active member of the consortium.",
        "see: assent org list; propose the job without that organisation, or after it is reinstated",
        "org",
    ),
    _row(
        "AGENT_KEY_MISMATCH",
        "{by} found that the job names another agent key of {org} than the one registered or held now.",
        "propose the job again: it takes the keys registered now; see: assent org show",
        "org",
    ),
    _row(
        "AGENT_ADDRESS_UNUSABLE",
        "{by} found no usable address of the agent of {org} on the ledger.",
        "that organisation registers one: assent org set-agent",
        "org",
    ),
    _row(
        "LOCAL_PURPOSE_REFUSED",
        "{by} takes part in no job for this purpose, by a rule of its own.",
        "ask its operator (policy.refused_purposes of agent.toml)",
    ),
    _row(
        "LOCAL_ORGANISATION_REFUSED",
        "{by} takes part in no job with one of these organisations, by a rule of its own.",
        "ask its operator (policy.refused_organisations of agent.toml)",
    ),
    _row(
        "AGENT_BUSY",
        "The agent of {by} had as many jobs as it takes.",
        "propose the job again later; its operator may raise policy.max_waiting_jobs of agent.toml",
    ),
)
_OF_PROGRAMS = (
    _row(
        "UNKNOWN_PROGRAM",
        "{by} finds no such program on the ledger.",
        "see: assent program list",
    ),
    _row(
        "PROGRAM_NOT_ACTIVE",
        "The members retired the program.",
        "see which are in force: assent program list",
    ),
    _row(
        "PAGE_DIFFERS",
        "{by} finds another page under the program than the job names.",
        "propose the job again: it takes the page that the ledger shows; see: assent program show",
    ),
    _row("UNKNOWN_PAGE", "{by} finds no text of the page on the ledger.", "see: assent program list"),
    _row(
        "PAGE_REFUSED",
        "The page cannot be traced at {by} with the parameters and columns of the job.",
        "try them: assent job preflight; the log of the agent names the line and what to write instead",
    ),
    _row(
        "PLAN_DIFFERS",
        "{by} derives another plan from the page, its parameters and the columns than the job names.",
        "propose the job again: it names what follows; if it ends so again, its operator updates the agent",
    ),
    _row(
        "USES_DIFFER",
        "{by} derives other uses of columns of {dataset} from the page than the job names.",
        "propose the job again: it names what follows of the page; see: assent program check",
        "dataset",
    ),
    _row(
        "CHARGES_DIFFER",
        "{by} derives other charges of the account of {dataset} from the page than the ledger shows.",
        "propose the job again; if it ends so again, its operator updates the agent",
        "dataset",
    ),
    _row(
        "RECEIVERS_DIFFER",
        "{by} derives other receivers from the page than the job names.",
        "propose the job again, with receivers as the page releases to them; see: assent program show",
    ),
    _row(
        "PROFILE_NOT_OFFERED",
        "The profile of the job cannot run what follows of its page.",
        "choose one of those that can: assent program show",
    ),
    _row(
        "PROFILE_NOT_RUN",
        "The agent of {by} does not run {profile}.",
        "choose another profile, or its operator updates the agent",
        "profile",
    ),
    _row(
        "PROFILE_PARTIES",
        "The agent of {by} runs {profile} with {least} to {limit} participants, and this job with others.",
        "propose the job with as many participants; --compute adds one that brings no data",
        "profile",
        "least",
        "limit",
    ),
    _row(
        "PROFILE_DATASETS",
        "The job names more than one dataset of {by}.",
        "propose it with one dataset of each owner",
    ),
    _row(
        "PROGRAM_INPUTS",
        "The page cannot work on the inputs of the job at {by}.",
        "its operator finds dataset, column and remedy in the log of that agent",
    ),
    _row(
        "MPC_PROGRAM",
        "The agent of {by} was asked for a step that has no meaning.",
        "this is a fault of Assent: report it to who maintains it, with the log of that agent",
    ),
)
_OF_GRANTS = (
    _row(
        "UNKNOWN_GRANT",
        "{by} finds no {grant} for its data on the ledger.",
        "see: assent grant list",
        "grant",
    ),
    _row("NOT_GRANTEE", "{grant} is not for who proposed the job.", _NEW_GRANT, "grant"),
    _row("GRANT_REVOKED", "{by} found {grant} revoked.", _NEW_GRANT, "grant"),
    _row(
        "GRANT_SUSPENDED",
        "{by} found {grant} suspended.",
        "ask its owner to resume it: assent grant resume; then propose the job again",
        "grant",
    ),
    _row("GRANT_EXPIRED", "{by} found the term of {grant} over.", _NEW_GRANT, "grant"),
    _row("GRANT_NOT_ACTIVE", "{grant} is not in force.", "see: assent grant show", "grant"),
    _row(
        "GRANT_NOT_YET_VALID",
        "The term of {grant} has not begun.",
        "propose the job again when it has: assent grant show",
        "grant",
    ),
    _row("DATASET_NOT_GRANTED", "{grant} is for another dataset than the job names.", _ASK_GRANT, "grant"),
    _row("VERSION_NOT_GRANTED", "{grant} is for another version of its dataset.", _ASK_GRANT, "grant"),
    _row("PURPOSE_MISMATCH", "{grant} is for another purpose than the job.", _ASK_GRANT, "grant"),
    _row("PROGRAM_NOT_GRANTED", "{grant} does not allow the program.", _ASK_GRANT, "grant"),
    _row("COLUMN_NOT_GRANTED", "{grant} does not cover {column}.", _ASK_GRANT, "grant", "column"),
    _row(
        "CONSTRAINT_VIOLATED",
        "{grant} allows {column} as {allowed} only, and the job uses it as {use}.",
        _ASK_GRANT,
        "grant",
        "column",
        "allowed",
        "use",
    ),
    _row(
        "PROFILE_TOO_WEAK",
        "{grant} asks for {profile} or a stronger profile.",
        "propose the job with that profile; see: assent grant show",
        "grant",
        "profile",
    ),
    _row(
        "MIN_GROUP_TOO_LOW",
        "{grant} asks for groups of {least} rows or more, and the job would show smaller ones.",
        "propose the job with --min-group as high as the grants ask for: assent grant show",
        "grant",
        "least",
    ),
    _row(
        "CO_PARTY_NOT_GRANTED",
        "{grant} does not allow {org} to take part.",
        "leave it out of --compute and the receivers, or request a grant with --co-party",
        "grant",
        "org",
    ),
    _row("RECEIVER_NOT_GRANTED", "{grant} lets no result go to {org}.", _ASK_GRANT, "grant", "org"),
    _row(
        "MEMBERSHIP_NOT_GRANTED",
        "{grant} does not let {org} learn which rows of its dataset are joined.",
        _ASK_GRANT,
        "grant",
        "org",
    ),
    _row(
        "EPSILON_NOT_GRANTED",
        "{grant} lets a run take epsilon {granted}, and the job takes {asked}.",
        "propose the job with parameters that ask for less epsilon, or request a grant for as much",
        "grant",
        "granted",
        "asked",
    ),
    _row("QUOTA_EXHAUSTED", "No run of {grant} is left for the job.", _NEW_GRANT, "grant"),
)
_OF_DATA = (
    _row("NOT_DATA_OWNER", "{by} owns none of the inputs of the job.", _LOOK),
    _row(
        "DATASET_NOT_ACTIVE",
        "{by} found {dataset} suspended or retired.",
        "ask its owner; see: assent dataset show",
        "dataset",
    ),
    _row(
        "DATASET_NOT_HELD",
        "The agent of {by} holds no record of {dataset}, version {version}.",
        "its operator restores the folder agent/datasets from backup, or registers a new version",
        "dataset",
        "version",
    ),
    _row(
        "ROOT_MISMATCH",
        "The root registered for {dataset}, version {version}, is not the one that {by} computed.",
        "its operator registers a new version: assent dataset new-version",
        "dataset",
        "version",
    ),
    _row(
        "JOIN_NOT_BY_KEY",
        "{dataset} is joined by its key, and the job names other columns with use join.",
        "name exactly the columns of its key with use join: assent dataset show",
        "dataset",
    ),
    _row(
        "UNKNOWN_COLUMN",
        "{dataset} has no {column}.",
        "see its columns: assent dataset show",
        "dataset",
        "column",
    ),
    _row(
        "DATA_CHANGED",
        "The data of {dataset}, version {version}, are no longer those that {by} registered.",
        "its owner restores them, or registers what they are now: assent dataset new-version",
        "dataset",
        "version",
    ),
    _row(
        "DATASET",
        "The agent of {by} cannot use its record of {dataset}, version {version}.",
        "its operator restores the folder agent/datasets from backup",
        "dataset",
        "version",
    ),
    _row(
        "SOURCE",
        "The agent of {by} could not read the data of {dataset}, version {version}.",
        "its operator finds file, line and remedy in the log of that agent",
        "dataset",
        "version",
    ),
    _row(
        "CELL",
        "A cell of {dataset}, version {version}, is not what its schema declares.",
        "its operator finds row and column in the log of that agent",
        "dataset",
        "version",
    ),
    _row(
        "IDENTIFIERS",
        "Identifiers of {dataset}, version {version}, are missing or occur twice.",
        "its operator finds the rows in the log of that agent",
        "dataset",
        "version",
    ),
    _row(
        "PSI_INPUT",
        "The identifiers of {dataset}, version {version}, cannot be joined.",
        "its operator finds the row and the remedy in the log of that agent",
        "dataset",
        "version",
    ),
    _row(
        "MPC_OUT_OF_RANGE",
        "A number of {by} is beyond what can be computed on.",
        "its operator finds the column in the log of that agent; rescale it, or leave it out",
    ),
)
_OWN_DATA = "its operator finds the column, and what to do, in the log of that agent; no run was used"
_OF_OWN_DATA = (
    _row(
        "DATA_TOO_FEW_ROWS",
        "{dataset}, version {version}, has too few rows for the job, alone or of those joined before.",
        "propose the job with a smaller --min-group, or its owner registers more rows",
        "dataset",
        "version",
    ),
    _row(
        "DATA_TOO_MANY_ROWS",
        "{dataset}, version {version}, has more rows than a join takes.",
        "its owner splits it",
        "dataset",
        "version",
    ),
    _row(
        "DATA_OUT_OF_RANGE",
        "{dataset}, version {version}, holds numbers beyond what can be computed on.",
        "its owner rescales the column: " + _OWN_DATA,
        "dataset",
        "version",
    ),
)
_OF_ROWS = (
    _row(
        "ROWS_BELOW_OWNER_MINIMUM",
        "Fewer rows were joined than the {least} that {by} asks for by a rule of its own.",
        "check that all owners write identifiers alike (assent dataset show), and join more rows; its "
        "operator may lower policy.min_joined_rows of agent.toml",
        "least",
    ),
    _row(
        "ROWS_BELOW_MIN_GROUP",
        "Fewer rows were joined than the minimum group of the job, {least}.",
        "check that all owners write identifiers alike (assent dataset show), and join more rows",
        "least",
    ),
)
_OF_FIGURES = (
    _row("EXPOSED", "{by} could not read what it remembers of the rows of exact figures.", _LOOK),
    _row(
        "DELTA_ABOVE_ROWS",
        "{by} found that figures with noise of {dataset}, version {version}, would have a delta above one "
        "over its rows in all, with those of earlier and open jobs.",
        "ask for laplace noise, or for gaussian with a smaller delta; its owner sets caps of delta below one "
        "over its rows (assent dataset caps --delta --grantee-delta)",
        "dataset",
        "version",
    ),
    _row(
        "EXACT_FIGURES_SPENT",
        "{by} found that exact figures of column {column} of {dataset}, version {version}, would be more "
        "than its rows allow, with those of earlier jobs.",
        "ask for noise in place of exact figures, for fewer of them, or for a smaller minimum group; its "
        "owner may begin a new account (assent dataset begin-account), or grant the column as plain",
        "dataset",
        "version",
        "column",
    ),
    _row(
        "EXACT_GROUPS_ASKED",
        "{by} found that exact figures of {dataset}, version {version}, were asked for over other groups of "
        "rows, or beside other versions, before.",
        "put all groups on one page, where they are judged beside one another, or ask for noise; its "
        "operator may raise policy.exact_pages of agent.toml",
        "dataset",
        "version",
    ),
    _row(
        "EXACT_ROWS_TOO_NEAR",
        "{by} found that exact figures of column {column} of {dataset}, version {version}, would be over "
        "rows that differ from those of an earlier job by fewer than the minimum group.",
        "join the same versions as before, or wait until more rows have changed; or ask for noise in place "
        "of exact figures",
        "dataset",
        "version",
        "column",
    ),
)
_OF_PEERS = (
    _row("MPC_NOT_MET", "{by} waited to begin, and the agent of {org} did not come.", _PEER, "org"),
    _row(
        "MPC_NO_SLOT",
        "{by} waited to begin, and the agent of {org} computed other jobs all the time.",
        "its operator may raise policy.jobs_at_once of agent.toml; or allow more time (--deadline bind=)",
        "org",
    ),
    _row("MPC_PEER_GONE", "{by} lost the connection to the agent of {org}, or got none.", _PEER, "org"),
    _row("MPC_PEER_TIMEOUT", "{by} waited too long for the agent of {org}.", _PEER, "org"),
    _row(
        "MPC_PEER_MISBEHAVED",
        "{by} says that the agent of {org} sent what the protocol does not allow.",
        "keep the evidence of both; an auditor decides who is right: assent job show",
        "org",
    ),
    _row(
        "MPC_PEER_TOO_LARGE",
        "{org} brings more rows than the {limit} that {by} takes from another party.",
        "its operator may raise policy.max_party_rows of agent.toml, or ask for a smaller dataset",
        "org",
        "limit",
    ),
    _row(
        "JOB_TOO_LONG",
        "{by} estimates, from the sizes that are registered, that the job takes longer than {limit} seconds, "
        "which is all that it has.",
        "see the estimate: assent job preflight; give it more time (--deadline run=) or fewer rows, or ask "
        "its operator to raise policy.job_time_max_ms of agent.toml",
        "limit",
    ),
    _row(
        "JOB_TOO_LARGE",
        "{by} estimates, from the sizes that are registered, that the job takes more than the {limit} MiB of "
        "memory that its agent allows.",
        "see the estimate: assent job preflight; ask for fewer rows or columns, or ask its operator to raise "
        "policy.job_memory_max_mib of agent.toml",
        "limit",
    ),
    _row(
        "MPC_STALLED",
        "{by} waited in vain: {org}, {other} or the link between them stood still.",
        "the operators of both look at their agents and their network; then propose the job again",
        "org",
        "other",
    ),
    _row(
        "MPC_PARTIES_CONTRADICT",
        "{org} and {other} say different things of one message of a join: one of the two deviates.",
        "the operators of both compare what their agents noted; then propose the job again",
        "org",
        "other",
    ),
    _row(
        "MPC_TIME_OVER",
        "The job took longer than {by} allows.",
        "its operator may raise policy.job_time_max_ms of agent.toml; or ask for less in one job",
    ),
    _row(
        "MPC_PORT_CROWDED",
        "Strangers crowded the port of the agent of {by}, and a party did not come through.",
        "its operator looks into docs/ports.md; then propose the job again",
    ),
    _row(
        "TRANSCRIPT_MISMATCH",
        "{org} and {other} committed different hashes of what went between them.",
        "an auditor who is no party decides which end lied: assent job show",
        "org",
        "other",
        "dispute",
    ),
    _row(
        "EQUIVOCATION",
        "A party committed two different things at one place.",
        "the dispute names the party and the evidence; leave it out of the next job",
        "dispute",
    ),
)
_OF_AGENTS = (
    _row(
        "AGENT_RESTARTED",
        "The agent of {by} restarted while it computed, or lost what it had sealed of the job.",
        _AGAIN,
    ),
    _row(
        "RESULT_OF_OTHER_SHARES",
        "{by} saw a receiver name other shares than all parties had committed to.",
        "keep the evidence of both; an auditor decides who is right: assent job show",
    ),
    _row("MPC_HOLDERS_DIFFER", "{by} saw two other parties hold different shares of one output.", _AGAIN),
    _row("STOPPED", "{by} stopped because the job was ending.", "see who ended it: assent job watch"),
    _row("MPC_CANCELLED", "The agent of {by} was stopped while it computed.", _AGAIN),
    _row("WRONG_STATE", "{by} found the job in another state than its step needs.", _AGAIN),
    _row(
        "NOT_REVEALED",
        "The node of {by} did not show the job as revealed, so that its shares stayed there.",
        "its operator looks at that node: assent status",
    ),
    _row(
        "CRYPTO_LIBRARY_UNSAFE",
        "The cryptographic library at {by} does not do what joins rely on.",
        "its operator installs the version that requirements.lock names",
    ),
    _row("RESULT", "{by} could not make or keep the result.", _LOOK),
    _row("JOB_MALFORMED", "The agent of {by} cannot read the job.", "its operator updates the agent"),
    _row(
        "CANCELLED",
        "{by} cancelled the job: {note}.",
        "ask that organisation; its runs stay used if data had moved",
        "note",
    ),
    _row(
        LEDGER_REFUSED,
        "The ledger refused {step} of {by}: {code}.",
        "see contracts/system/README.md for that code",
        "step",
        "code",
    ),
    _row(
        INTERNAL,
        "The agent of {by} met a fault of its own ({error}).",
        "its operator finds it in the log of that agent, and reports it to who maintains Assent",
        "error",
    ),
)
_OF_TIME = (
    _row(
        "DEADLINE_PASSED",
        "Nobody took the step for which the job waited before its deadline.",
        "ask who is missing; then propose the job again, with more time if that was too little (--deadline)",
    ),
    _row(
        "DISPUTE_UPHELD",
        "{by} decided, as a neutral auditor, that dispute {dispute} ({kind}) is justified.",
        "see whom it blames: assent job show --json",
        "dispute",
        "kind",
    ),
)
CAUSES: Mapping[str, EndCause] = {
    cause.code: cause
    for group in (
        _OF_PARTIES,
        _OF_PROGRAMS,
        _OF_GRANTS,
        _OF_DATA,
        _OF_OWN_DATA,
        _OF_ROWS,
        _OF_FIGURES,
        _OF_PEERS,
        _OF_AGENTS,
        _OF_TIME,
    )
    for cause in group
}
"""Code -> what it means; in the order in which a job meets them."""


@dataclass(frozen=True, slots=True)
class Filed:
    """What goes on the ledger about the end of a job."""

    code: str
    detail: Mapping[str, Fact]

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {fact}" for name, fact in sorted(self.detail.items()))
        return f"{self.code} ({facts})" if facts else self.code


def filed(code: str, detail: Mapping[str, Value], error: str = "") -> Filed:
    """Return what this agent files: facts that do not fit are left out.

    A code without a row is a fault of our own, which `error` names.
    """
    cause = CAUSES.get(code)
    if cause is None:
        return filed(INTERNAL, {"error": error or code, **_of_every_cause(detail)})
    return Filed(code, {name: fact for name, fact in detail.items() if cause.fits({name: fact})})


def _of_every_cause(detail: Mapping[str, Value]) -> dict[str, Value]:
    return {name: fact for name, fact in detail.items() if name in EVERYWHERE}
