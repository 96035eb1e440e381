"""What members and contracts put on the ledger is text, in whatever command shows it and however it prints.

The node of test_hostile_texts.py proves nothing, so commands that ask for proofs stop there; here they get
what they ask for, hostile in every text.
"""

from __future__ import annotations

import ast
import io
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from chain.cli.main import main
from chain.client import console
from chain.client.answers import RpcError
from chain.client.client import Client
from chain.ledger.block import Receipt, Transaction
from chain.ledger.testing import ToyChain
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import Exit
from chain.primitives.keyfile import save_key
from chain.primitives.runtimeport import Event
from chain.primitives.values import encode_value
from contracts.pages.page import page_hash
from contracts.system import standard_pages
from privcompute.data.schema import Column, Schema, declaration, schema_seal
from tests.unit.chain.cli.commands import all_commands, required, takes
from tests.unit.chain.cli.test_hostile_texts import ANSWERS, EVIL, HASH, KEY, RECORD, WAITING

SOURCES = Path(__file__).resolve().parents[4]
NODE = {"org": "x", "name": EVIL, "public_key": bytes.fromhex(KEY), "address": EVIL, "role": EVIL}
SPEC = RECORD | {
    "participants": [{"org": EVIL, "role": EVIL, "agent_key": b"\1"}],
    "inputs": [{"name": EVIL, "grant": EVIL, "dataset": EVIL, "version": 1, "columns": {EVIL: EVIL}}],
    "page": b"\1",
    "plan": b"\1",
}
STATE: dict[str, Any] = {
    "governance.nodes": [NODE],
    "governance.limits": {EVIL: EVIL, "tx_gas_max": 10**7},
    "lifecycle.numbers": {"versions": 1},
    "lifecycle.versions": [1, 1],
    "lifecycle.name_count": 1,
    "lifecycle.names": EVIL,
    "lifecycle.sources": EVIL,
    "jobs.specs": SPEC,
    "jobs.stage_heads": {"count": 1},
    "jobs.ends": {
        "state": EVIL,
        "phase": EVIL,
        "origin": EVIL,
        "by": EVIL,
        "cause": EVIL,
        "detail": {EVIL: EVIL},
        "missing": [EVIL],
        "evidence": b"",
        "height": 1,
    },
    "jobs.certificates": {"signatures": {EVIL: b""}, "digest": b"\1", "height": 1},
    "orgs.org_keys": [EVIL],
    "orgs.eyes": {"acts": {EVIL: 2}, "datasets": {EVIL: 1}, "calls": [EVIL]},
    "orgs.pending_of": [bytes.fromhex(HASH)],
    "orgs.pending": {
        "act": EVIL,
        "call": EVIL,
        "about": [EVIL],
        "needed": 2,
        "seen": [{"key": bytes.fromhex(KEY), "tx": bytes.fromhex(HASH), "at": 1}],
        "until": 2,
    },
}
LEDGER = RECORD | {
    "source_hash": b"\1", "active_at": 1, "approved_by": [EVIL], "frozen_until": 0, "system": False,
    "access": {EVIL: {"orgs": [EVIL], "roles": [EVIL]}}, "next": None, "methods": {EVIL: EVIL},
    "voted": {EVIL: EVIL}, "terms": EVIL,
    "ir_hash": b"\1", "engine": 1, "accepted": {EVIL: 1}, "bound": {}, "transcripts": {},
    "reveals": {}, "results": {}, "signed": {},
    "rule": EVIL, "votes": 1, "abi": {}, "arguments": {EVIL: EVIL}, "readiness": RECORD, "metrics": {},
    "libraries": {EVIL: bytes.fromhex(HASH)}, "by": EVIL, "bytes": 1, "published_at": 1, "open": 1,
    "withdrawn": False, "returned": [EVIL], "disclaimed": [EVIL], "join_height": 1, "running_height": 1,
    "owners": [EVIL], "page": page_hash(EVIL), "epsilon": 1,
}  # fmt: skip
"""One record with every field that any command asks a contract for."""
GIVEN = {
    "tx_id": HASH, "job_id": HASH, "subject": "org:bank", "terms": "{}", "dataset_id": "a/b",
    "grant_id": "a/b", "new_key": "k.key", "admin_key": "k.key", "key_text": "k.key", "roles": "admin",
    "changes": "block_txs=500",
    "rule": "majority", "old_key": "k.key", "agent_key": "k.key", "expires": "30d", "file": "c.py",
    "org_id": "x", "address": "h:1", "columns": "x=plain", "digits": HASH, "schema": HASH,
}  # fmt: skip
OWN_WORDS = {("org", "propose-admit"): {"roles": "owner"}}
MORE = {
    ("contract", "acl"): ["--open"],
    ("validator", "rotate-key"): ["--force"],
    ("validator", "set-role"): ["--force"],
    ("validator", "remove"): ["--force"],
    ("grant", "request"): [
        *("--dataset", "a/b", "--column", "x=plain", "--program", "x", "--receiver", "x", "--runs", "1"),
    ],
    ("program", "check"): ["--org", EVIL, "--input", f"a={EVIL}@1"],
    ("dataset", "caps"): ["--epsilon", "1"],
    ("grant", "narrow"): ["--runs", "1"],
    ("job", "preflight"): [
        *("--program", "private-join", "--purpose", "x", "--receiver", "x"),
        *("--input", "b=a/b", "--input", "c=a/c", "--profile", "x"),
        *("--parameters", '{"receivers": ["x"], "tell_owners": false}'),
    ],
}
ELSEWHERE = {
    **dict.fromkeys(
        (("dataset", word) for word in ("register", "new-version", "check", "open", "check-opening")),
        "shows an owner's own files (test_agent_commands.py)",
    ),
    ("job", "result"): "shows a file of the own agent (test_agent_commands.py)",
    ("job", "preflight"): "prints what it finds, and ends with the status of that (test_job_preflight.py)",
    ("job", "propose"): "prints the job's id, and what the ledger refuses (test_agent_commands.py)",
    ("audit", "trail"): "takes proofs (tests/unit/chain/audit)",
    ("audit", "export"): "takes proofs (tests/unit/chain/audit)",
    ("org", "see"): "takes the call that a digest proves (test_acts.py)",
    ("validator", "report"): "shows signed messages of the own files (tests/unit/consensus)",
}
"""Commands that need more than answers to come to their end, and where what they print is tested."""


DECLARED = Column("x", "text", "identifier", categories=(EVIL[:64],), coding=((EVIL[:64], EVIL[:64]),))
SCHEMA = Schema((DECLARED,), ("x",))
STATE |= {
    "datasets.versions": LEDGER | {"schema": schema_seal(SCHEMA), "identifier": [["text", EVIL]]},
    "datasets.schemas": {"parts": 1, "key": ["x"]},
    "datasets.parts": ["x"],
    "datasets.columns": declaration(DECLARED),
}
"""A schema whose texts are hostile, under its own seal."""
STATE |= {
    "orgs.keys": LEDGER | {"roles": [EVIL]},
    "grants.profiles": {"name": EVIL, "rank": 1, "parties_min": 3, "parties_max": 3, "datasets_max": 1},
    "grants.open_jobs": [EVIL],
    "grants.partners": [b"\1"],
    "grants.returns": {"day": 1, "today": 1, "ever": 1},
    "programs.programs": LEDGER | {"page": page_hash(EVIL), "id": EVIL, "status": EVIL},
    "programs.proposals": LEDGER | {"page": page_hash(EVIL), "id": EVIL, "hash": b"\1"},
    "programs.pages": EVIL,
    "programs.facts": {
        "says": EVIL,
        "parameters": {EVIL: [EVIL]},
        "leakage": EVIL,
        "uses": {EVIL: {EVIL: EVIL}},
        "cost": {EVIL: {"rounds": EVIL, "sent": EVIL, "memory": EVIL}},
    },
    "jobs.initiators": {"open": 1, "day": 1, "today": 1},
    "jobs.joins": {"min_group": 1, "outcome": EVIL, "said": [EVIL], "job": EVIL},
}
"""What decides about a proposal."""
NOISE = {"epsilon": 0, "delta": 0, "rho": 0}
STATE |= {
    "accounts.owner_caps": {
        "epsilon": 1,
        "grantee_epsilon": 1,
        "delta": 1,
        "grantee_delta": 1,
        "figures": 1,
        "grantee_figures": 1,
    },
    "accounts.begun": [],
    "accounts.accounts": {"spent": NOISE, "reserved": NOISE, "through": 1},
    "accounts.figures": {"spent": 1, "reserved": 0},
}
"""What a dataset gave away; a grantee that nobody lists would be told as missing."""
VIEWS: dict[str, Any] = {
    "votes_needed": 1,
    "policy_of": {"rule": EVIL, "votes": 1},
    "derive": {"charges": {name: {**NOISE, "epsilon": 1, "figures": {EVIL: 1}} for name in ("b", "c")}},
    "fault_of": EVIL,
    "left": {"epsilon": 0, "delta": 0, "figures": {EVIL: 0}},
}
"""What views answer; the others with the record that has every field."""
RETURNS = {
    "governance.propose": 1, "lifecycle.propose": 1, "lifecycle.set_access": 1, "lifecycle.commit": 1,
    "governance.commit": 1, "lifecycle.publish": bytes.fromhex(HASH), "datasets.withdraw": 0,
    "programs.propose": 1,
}  # fmt: skip
"""What a call returns where a command goes on with it."""


class Spoken:
    """How the calls of commands end."""

    status, code = "ok", ""


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Spoken:
    """Let every client get hostile answers, as if they were proved."""
    monkeypatch.chdir(tmp_path)
    save_key(Path("k.key"), PrivateKey.generate())
    Path("c.py").write_text("@export\ndef ping() -> int:\n    return 1\n")
    Path("page.py").write_text('"""Rows."""\n\n\ndef run(a):\n    release(count(a), to="bank", exact=True)\n')
    needs = '"""Rows."""\n\n\ndef run(a):\n    release(count(a.x == "y"), to="bank", exact=True)\n'
    Path("needs.py").write_text(needs)
    Path("library.py").write_text("def one() -> int:\n    return 1\n")
    said, header = Spoken(), ToyChain().ledger.head_header

    async def state(_: Client, contract: str, name: str, *__: Any, **___: Any) -> Any:
        return STATE.get(f"{contract}.{name}", LEDGER)

    async def view(_: Client, __: str, method: str, ___: Any) -> Any:
        return VIEWS.get(method, LEDGER)

    async def entries(_: Client, __: str, name: str, *___: Any) -> AsyncIterator[tuple[Any, Any]]:
        record = LEDGER | {"schema": bytes.fromhex(HASH)} if name == "schemas" else LEDGER
        if name == "figures":
            yield ("a/b", 1, EVIL), LEDGER
            return
        yield bytes.fromhex(HASH) if name == "libraries" else HASH, record

    async def head(_: Client) -> int:
        return 1

    async def a_header(*_: Any) -> Any:
        return header

    async def history(*_: Any) -> tuple[()]:
        return ()

    sent: list[str] = []

    async def submit(_: Client, tx: Transaction) -> list[bytes]:
        sent.append(f"{tx.body.contract}.{tx.body.method}")
        return [b"\1" * 32]

    async def wait(*_: Any) -> Receipt:
        event = Event(EVIL, EVIL, encode_value({EVIL: EVIL}), (EVIL,))
        result = encode_value(RETURNS.get(sent[-1], EVIL) if sent else EVIL)
        return Receipt(bytes(32), 1, 0, said.status, said.code, result, 5, (event,))

    async def request(_: Client, method: str, **params: Any) -> Any:
        if params.get("after"):
            return []
        if method in ANSWERS:
            return ANSWERS[method]
        if method == "getGenesis":
            return {"limits": {"consensus_window": 16}}
        raise RpcError(-1, EVIL, {"code": EVIL})

    for name, answer in {
        "state": state, "variable": state, "view": view, "entries": entries, "head": head, "header": a_header,
        "submit": submit, "wait": wait, "request": request, "history": history,
    }.items():  # fmt: skip
        monkeypatch.setattr(Client, name, answer)
    return said


def asking() -> list[tuple[tuple[str, ...], click.Command]]:
    """Return the commands that ask a node."""
    return [(w, c) for w, c in all_commands() if takes(c, "--node") and takes(c, "--as") and w not in WAITING]


def typed(words: tuple[str, ...], command: click.Command) -> list[str]:
    """Return a command with all that it requires."""
    files = {("contract", "publish"): "library.py", ("program", "propose"): "page.py"}
    files[("program", "check")] = "needs.py"
    given = GIVEN | ({"file": files[words]} if words in files else {}) | OWN_WORDS.get(words, {})
    return [*words, *required(command, given), *MORE.get(words, []), "--node", "http://h:1", "--key", "k.key"]


def check_shown(words: tuple[str, ...], output: str) -> None:
    """What was printed is characters and ends of lines, and no line is another's words."""
    assert all(char == "\n" or char.isprintable() for char in output), (words, output)
    assert not [line for line in output.splitlines() if line.startswith("  approved by all")], (words, output)


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_every_command_comes_to_its_end_and_prints_what_members_wrote_as_text(as_json: bool) -> None:
    ended = {}
    for words, command in asking():
        more = ["--json"] if as_json and takes(command, "--json") else []
        told = CliRunner().invoke(main, [*typed(words, command), *more])
        check_shown(words, told.output)
        ended[words] = (told.exit_code, told.output[-600:])
    failed = {words: end for words, end in ended.items() if end[0] != 0 and words not in ELSEWHERE}
    assert failed == {}
    assert ELSEWHERE.keys() <= ended.keys()


def test_every_refusal_of_a_contract_is_printed_as_text(spoken: Spoken) -> None:
    spoken.status, spoken.code = "reverted", EVIL
    refused = 0
    for words, command in asking():
        told = CliRunner().invoke(main, typed(words, command))
        check_shown(words, told.output)
        assert told.exit_code != Exit.BUG, (words, told.output)
        refused += told.exit_code == Exit.REFUSED and "[/x]" in told.output
    assert refused > 30


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_preflight_over_hostile_rows_comes_to_its_findings(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STATE, "orgs.orgs", LEDGER | {"agent_key": b"\1"})
    page = standard_pages()["private-join"]
    program = STATE["programs.programs"] | {"page": page_hash(page), "status": "active"}
    facts = STATE["programs.facts"] | {"datasets": ["b", "c"]}
    granted = STATE.get("grants.grants", LEDGER) | {
        "columns": {"x": "join-only"}, "dataset": "a/b", "owner": "a", "version": 1,
    }  # fmt: skip
    rows = {"programs.programs": program, "programs.pages": page, "programs.facts": facts}
    for name, row in (rows | {"grants.grants": granted}).items():
        monkeypatch.setitem(STATE, name, row)
    words = ("job", "preflight")
    command = next(command for name, command in asking() if name == words)
    told = CliRunner().invoke(main, [*typed(words, command), *(["--json"] if as_json else [])])
    check_shown(words, told.output)
    assert told.exit_code == Exit.REFUSED, told.output
    assert "KEY_ROLE_MISSING" in told.output
    assert "PURPOSE_MISMATCH" in told.output


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("shape", [5, "x", [], {}, [[]]])
def test_what_a_stranger_answers_in_another_shape_is_no_fault_of_ours(
    shape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is proved without a genesis: "please report" was said of what anybody answered."""

    async def odd(*_: Any, **__: Any) -> Any:
        return shape

    for name in ("state", "variable", "view", "request"):
        monkeypatch.setattr(Client, name, odd)
    named = 0
    for words, command in asking():
        told = CliRunner().invoke(main, typed(words, command))
        assert told.exit_code != Exit.BUG, (words, told.output)
        assert told.exception is None or isinstance(told.exception, SystemExit)
        named += "error [bad_answer]: http://h:1: its answer to what `assent" in told.output
    assert named > 10


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "cp1252", "utf-8"])
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_every_command_prints_in_the_encoding_of_its_output(
    encoding: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a terminal tables are styled; whatever else is there is printable, too."""
    for words, command in asking():
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
        with monkeypatch.context() as patched:
            patched.setattr("sys.stdout", out)
            patched.setattr("sys.stderr", err)
            shown = Console(
                highlight=False, soft_wrap=True, markup=False, emoji=False, force_terminal=terminal,
                color_system=None,
            )  # fmt: skip
            patched.setattr(console, "_terminal", partial(lambda to: to, shown))
            with pytest.raises(SystemExit), console.speaking():
                main(typed(words, command), prog_name="assent")
        for stream in (out, err):
            stream.flush()
            check_shown(words, styled(stream.buffer.getvalue().decode(encoding)))  # type: ignore[attr-defined]


def styled(text: str) -> str:
    """Return what a terminal was sent without the styles that we put there."""
    for style in ("\x1b[1m", "\x1b[0m", "\x1b[1;", "\x1b[2m"):
        text = text.replace(style, "")
    return text


class Broken(io.TextIOWrapper):
    """An output that takes nothing."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.usefixtures("spoken")
def test_every_command_says_in_a_line_that_its_output_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_give_up_output", lambda: None)
    for words, command in asking():
        for output in (Broken(), None):
            err = io.StringIO()
            with monkeypatch.context() as patched:
                patched.setattr("sys.stdout", output)
                patched.setattr("sys.stderr", err)
                with pytest.raises(SystemExit) as ended, console.speaking():
                    main(typed(words, command), prog_name="assent")
            assert ended.value.code != Exit.BUG, (words, err.getvalue())
            assert "Traceback" not in err.getvalue(), (words, err.getvalue())
            if words not in ELSEWHERE:
                assert (ended.value.code, err.getvalue().count("\n")) == (Exit.IO, 1), (words, err.getvalue())
                assert err.getvalue().startswith("error [output]: "), (words, err.getvalue())


PRINTERS = {
    "chain/client/console.py": "the place that prints",
    "chain/cli/node.py": "where a node's log goes",
    "chain/cli/main.py": "looks whether there is an output before a command does anything",
    "contracts/cli.py": "prints what it escapes itself: contracts do not import the chain's console",
    "contracts/replica.py": "a process's answers to the one that began it, framed bytes",
    "contracts/selfcheck.py": "a process's answers to the one that began it",
}


def test_only_one_place_prints() -> None:
    """Whoever prints elsewhere forgets to escape, sooner or later."""
    found = set()
    for package in ("chain", "consensus", "contracts", "privcompute"):
        for path in sorted((SOURCES / package).rglob("*.py")):
            name = path.relative_to(SOURCES).as_posix()
            if name.startswith("contracts/system/") and path.name != "__init__.py":
                continue  # in the language of contracts, which prints nothing
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if is_print(node):
                    found.add(name)
    assert found == PRINTERS.keys()


def is_print(node: ast.AST) -> bool:
    """Tell whether a piece of source writes to the outputs of its process."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "print"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        place = (node.value.id, node.attr)
        return place in {
            ("sys", "stdout"), ("sys", "stderr"), ("sys", "__stdout__"), ("sys", "__stderr__"),
            ("click", "echo"), ("click", "secho"), ("click", "prompt"), ("click", "confirm"),
        }  # fmt: skip
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich.console")
