"""Why a job ended, or for whom it waits: the ledger's rows in words, and whose word each of them is.

What a party filed about an end is bytes of a member. Facts count only where they fit their cause and name
what the job names; others are shown as they were filed, and believed by nobody.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chain.client.calls import SEE_CODES, remedy
from chain.client.console import print_text
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value
from chain.primitives.visible import json_text, one_line
from privcompute.causes import CAUSES, LEDGER_REFUSED
from privcompute.cli.common import show_time

WIDTH = 80
_WAITS: Mapping[str, tuple[str, str, str]] = {
    "proposed": ("parties", "accepted", "to accept the job"),
    "accepted": ("owners", "bound", "to bind their data"),
    "running": ("parties", "transcripts", "to finish computing"),
    "computed": ("owners", "reveals", "to approve the reveal"),
    "revealed": ("receivers", "results", "to commit the result"),
    "committed": ("parties", "signed", "to sign the certificate"),
}
"""State -> who has a step in it, the list of those who took it, and the step."""
_STAGES: Mapping[str, str] = {
    "check": "when it checked the job",
    "data": "when it read its data",
    "wait": "before it computed",
    "connect": "when it connected to the other agents",
    "join": "in the join",
    "aided-join": "in the join",
    "match": "in the join",
    "rows": "when the parties told how many rows they use without a join",
    "setup": "when the parties set up the computation",
    "compute": "in the computation",
    "seal": "when the parties committed to what they hold",
    "compare": "when it compared the transcripts",
    "release": "when the shares were released",
    "sign": "when it made the certificate",
}


@dataclass(frozen=True, slots=True)
class Why:
    """What became of a job, in words; whoever reads it by program finds the rows themselves beside them."""

    job: str
    state: str
    says: str
    """What happened, or for whom the job waits."""
    do: str
    """What to do next."""
    runs: str
    """What became of the runs of the grants."""
    proved: str
    """What the ledger itself shows."""
    word: str = ""
    """What is only somebody's word."""
    by: str = ""
    origin: str = ""
    phase: str = ""
    cause: str = ""
    detail: Value = None
    """As it was filed, by anybody; believed only if `detail_fits`."""
    detail_fits: bool = True
    missing: Sequence[str] = ()
    waits_for: Sequence[str] = ()
    deadline: int = 0


def explain(record: Any, spec: Any, end: Any, heads: Mapping[str, Any]) -> Why:
    """Say what became of a job; `heads` are the last stages of its parties, None for who has none."""
    if end is not None:
        return _ended(record, spec, end, _runs(record, spec, heads))
    if record["state"] == "certified":
        return Why(
            job=record["id"],
            state="certified",
            says="The job came to its result: every participant signed the certificate.",
            do=f"A receiver reads the result: assent job result {record['id'][:12]}",
            runs="Each grant gave one run, which is used.",
            proved="The certificate, with every signature, stands on the ledger.",
        )
    return _open(record, spec)


def _open(record: Any, spec: Any) -> Why:
    state, until = record["state"], record["deadline"]
    known = {"id": record["id"], "deadline": until}
    if state not in _WAITS:
        return Why(
            job=known["id"],
            state=state,
            deadline=until,
            says=f"The job is {state}: it waits for an auditor who takes no part in it.",
            do="See the dispute: assent job show; undecided, it ends at the deadline.",
            runs="The runs are held as long as the job is open.",
            proved="The state stands on the ledger.",
        )
    who, done, step = _WAITS[state]
    named = {
        "parties": [one["org"] for one in spec["participants"]],
        "owners": list(dict.fromkeys(record["owners"])),
        "receivers": spec["receivers"],
    }[who]
    late = [org for org in named if org not in record[done]]
    return Why(
        job=known["id"],
        state=state,
        waits_for=late,
        deadline=until,
        says=f"The job waits for {_listed(late)} {step}, until {show_time(until)} UTC.",
        do=f"Follow it: assent job watch {known['id'][:12]}; past the deadline anyone may end it.",
        runs="Each grant holds a run for the job from its owner's acceptance on.",
        proved="Who took which step stands on the ledger; why the others did not, nobody knows yet.",
    )


def _ended(record: Any, spec: Any, end: Any, runs: str) -> Why:
    by, code, detail, origin = end["by"], end["cause"], end["detail"], end["origin"]
    cause, fits = CAUSES.get(code), _fits(end, record, spec)
    said = [f"{by} ended the job while it was {end['phase']}, with cause {code}."]
    if origin == "deadline":
        said = [f"The time for the state {end['phase']} passed; {by} said so first."]
    if cause is not None:
        said.append(cause.sentence(by, detail if fits else {}))
    else:
        said.append("This version of Assent does not know that cause.")
    if fits and code == LEDGER_REFUSED and detail.get("code") in CAUSES:
        said.append(CAUSES[detail["code"]].sentence(by, {}))
    if fits and "stage" in detail:
        stage = detail["stage"]
        said.append(f"It happened {_STAGES.get(stage, f'in stage {stage}')}.")
    if not fits and detail:
        said.append(f"The facts filed with it do not fit the cause or the job: {json_text(to_json(detail))}")
    if end["missing"]:
        said.append(f"Missing were: {_listed(end['missing'])}.")
    return Why(
        job=record["id"],
        state=end["state"],
        says=" ".join(said),
        do=_sentence(_what_to_do(code, detail if fits else {})),
        runs=runs,
        proved=_PROVED[origin] if origin in _PROVED else _PROVED["party"],
        word=_word(by, origin),
        by=by,
        origin=origin,
        phase=end["phase"],
        cause=code,
        detail=to_json(detail),
        detail_fits=fits,
        missing=end["missing"],
    )


_PROVED = {
    "party": "Who ended the job, in which state and at which height, stands on the ledger.",
    "auditor": "That a neutral auditor decided so stands on the ledger.",
    "contract": "The contract itself found the contradiction; both statements stand on the ledger.",
    "deadline": "The ledger's clock passed the deadline, and whose steps were not in stands there.",
}


def _word(by: str, origin: str) -> str:
    if origin == "party":
        return f"The cause and its facts are the word of {by} alone; nobody checked them."
    return f"What it decided on is the judgement of {by}." if origin == "auditor" else ""


def _fits(end: Any, record: Any, spec: Any) -> bool:
    """Tell whether facts are those of their cause, and name organisations, data and grants of the job."""
    cause, detail = CAUSES.get(end["cause"]), end["detail"]
    if cause is None or type(detail) is not dict or not cause.fits(detail):
        return False
    orgs = {record["initiator"], *(one["org"] for one in spec["participants"])}
    columns = {name for one in spec["inputs"] for name in one["columns"]}
    of_job = {
        "org": orgs,
        "other": orgs,
        "grant": {one["grant"] for one in spec["inputs"]},
        "dataset": {one["dataset"] for one in spec["inputs"]},
        "column": columns,
    }
    return all(fact in of_job[name] for name, fact in detail.items() if name in of_job)


def _what_to_do(code: str, detail: Mapping[str, Any]) -> str:
    if code == LEDGER_REFUSED and type(detail.get("code")) is str:
        inner = detail["code"]
        found = remedy("jobs", inner)
        return CAUSES[inner].remedy if found == SEE_CODES and inner in CAUSES else found
    cause = CAUSES.get(code)
    return "ask who ended it, or update Assent: assent --version" if cause is None else cause.remedy


def _runs(record: Any, spec: Any, heads: Mapping[str, Any]) -> str:
    grants = [one["grant"] for one in spec["inputs"]]
    back, initiator = record["returned"], record["initiator"]
    spent = [grant for grant in grants if grant not in back]
    if record["join_height"] == 0:
        if record["running_height"] == 0 or not spent:
            return "No run was used: no data had moved."
        return f"No data had moved, but three runs had returned that day: {_listed(spent)} lost one."
    if not spent:
        return "The runs returned: every owner but the initiator stated that it had sent nothing."
    others = [org for org in dict.fromkeys(record["owners"]) if org != initiator]
    sent = [org for org in others if (heads.get(org) or {"count": 0})["count"] > 0]
    if sent:
        return f"The runs are used: data had moved, {_listed(sent)} had finished a stage."
    silent = [org for org in others if org not in record["disclaimed"]]
    return (
        f"The runs are used: the join had begun. They return if {_listed(silent)} "
        "stated within seven days of the end that nothing was sent."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nobody"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def as_json_of(why: Why) -> Value:
    """Return what `--json` prints."""
    return {
        "job": why.job,
        "state": why.state,
        "says": why.says,
        "do": why.do,
        "runs": why.runs,
        "proved": why.proved,
        "word": why.word,
        "by": why.by,
        "origin": why.origin,
        "phase": why.phase,
        "cause": why.cause,
        "detail": why.detail,
        "detail_fits": why.detail_fits,
        "missing": list(why.missing),
        "waits_for": list(why.waits_for),
        "deadline": why.deadline,
    }


def print_why(why: Why, trust: str) -> None:
    """Print an explanation at 80 columns; `trust` says what the rows rest on."""
    print_text(f"job {why.job[:12]}: {why.state}")
    for title, text in (
        ("what", why.says),
        ("do", why.do),
        ("runs", why.runs),
        ("proved", why.proved),
        ("word", why.word),
        ("rests on", trust),
    ):
        if text:
            print_part(title, text)


def print_part(title: str, text: str) -> None:
    """Print a text beside its title, folded at 80 columns."""
    indent = " " * 12
    # A foreign end of line becomes an escape before lines are folded.
    for line in textwrap.wrap(
        one_line(text),
        WIDTH,
        initial_indent=f"  {title:<10}",
        subsequent_indent=indent,
        break_on_hyphens=False,
    ):
        print_text(line)


def in_short(record: Any, spec: Any, end: Any) -> str:
    """Return one line about the end of a job."""
    fits, cause = _fits(end, record, spec), CAUSES.get(end["cause"])
    said = "" if cause is None else f" {cause.sentence(end['by'], end['detail'] if fits else {})}"
    return f"ended by {end['by']} while {end['phase']}: {end['cause']}.{said}"
