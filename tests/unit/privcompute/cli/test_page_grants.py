"""A page's needs of grants: told, held against what is granted, asked for exactly, and approved no wider."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli.main import main
from chain.client.client import Client
from chain.ledger.block import Receipt
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value, decode_stored, decode_value, encode_value
from contracts.testing import LocalChain
from privcompute.cli import grant_commands
from privcompute.cli.common import UsageFault
from privcompute.cli.page_needs import Basis, compared, dataset_version, read_basis
from tests.schemas import column, declaring, seal_of

PAGE = '''"""Mean age of those who owe much, for the bank."""


def run(loans, people, *, least=1000, column="age"):
    rows = join(loans, people)
    much = where(rows.loans.amount > least, 1, 0)
    keep(much, name="much")
    release(mean(rows.people[column]), to="bank", noise=laplace(epsilon=1), name="age")
    release(count(rows, by=rows.people.home), to="bank", exact=True, name="by home")
'''
NOISY = PAGE.replace("epsilon=1)", "epsilon=epsilon)").replace('column="age"', 'column="age", epsilon=1')
LOANS = [column("id", "text", "identifier"), column("amount", "integer"), column("rate", "decimal")]
PEOPLE = [
    column("id", "text", "identifier"),
    column("age", "integer", low="0", high="120"),
    column("income", "decimal"),
    column("height", "decimal", low="0", high="3"),
    column("home", "category", categories=["own", "rent"]),
    column("seen", "timestamp"),
]
NEEDED = {"id": "join-only", "age": "aggregate-only", "home": "exact-aggregate"}
INPUTS = ("--input", "loans=bank/loans", "--input", "people=city/people")
ASK = ("--purpose", "risk", "--legal-basis", "contract", "--expires", "2030-01-01")
DAY_MS = 86_400_000
NAMED = 'page with {"inputs":{"loans":"bank/loans@1","people":"city/people@1"},"parameters":{}}'
"""What a request says of its basis, when it is asked for with these inputs."""


class Chain:
    """The system contracts in memory, as commands see them."""

    def __init__(self) -> None:
        self.chain = LocalChain.consortium("bank", "city", "registry")
        for owner, dataset, columns in (("bank", "loans", LOANS), ("city", "people", PEOPLE)):
            for method, args in declaring(columns):
                self.call(owner, "datasets", method, **args)
            given: dict[str, Value] = {"id": f"{owner}/{dataset}", "schema": seal_of(columns)}
            given |= {"root": sha256(dataset.encode()).digest(), "size_bucket": "", "description": ""}
            self.call(owner, "datasets", "register", approvers=[owner], threshold=1, **given)
        self.adopt("ages", PAGE)
        self.adopt("noisy", NOISY)
        self.speaker = "bank"

    def adopt(self, name: str, source: str) -> None:
        seq = self.call("bank", "programs", "propose", id=name, source=source, reason="")
        voted: Any = self.chain.entry("programs", "proposals", seq)
        for org in ("city", "registry"):
            self.call(org, "programs", "approve", seq=seq, hash=voted["hash"])
        self.call("bank", "programs", "commit", seq=seq)

    def call(self, org: str, contract: str, method: str, **args: Value) -> Any:
        return self.chain.as_(org).call(contract, method, gas=10**7, **args)

    def grant(self, name: str) -> Any:
        return self.chain.entry("grants", "grants", name)

    def status(self, name: str) -> str:
        standing: Any = self.chain.entry("grants", "standing", name)
        return "requested" if standing is None else str(standing["status"])


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Chain:
    made = Chain()

    async def state(_: Client, contract: str, name: str, key: Value, **__: Any) -> Any:
        stored = made.chain.state.get(contract, map_key(name, key))
        return None if stored is None else decode_stored(stored)

    async def entries(_: Client, contract: str, name: str) -> AsyncIterator[tuple[Any, Any]]:
        begin = f"{name}/".encode()
        for (space, key), stored in sorted(made.chain.state.rows.items()):
            if space == contract and key.startswith(begin):
                yield decode_value(key[len(begin) :], max_bytes=1 << 16), decode_stored(stored)

    async def head(_: Client) -> int:
        return made.chain.height

    async def header(*_: Any) -> Any:
        return type("Header", (), {"time": made.chain.time})

    def send(_: Any, contract: str, method: str, args: dict[str, Value]) -> Receipt:
        result = made.call(made.speaker, contract, method, **args)
        return Receipt(bytes(32), 7, 0, "ok", "", encode_value(result), 0, ())

    async def view(_: Client, contract: str, method: str, args: dict[str, Value]) -> Any:
        return made.chain.view(contract, method, **args)

    answers: dict[str, Any] = {"state": state, "entries": entries, "head": head, "header": header}
    for name, answer in (answers | {"view": view}).items():
        monkeypatch.setattr(Client, name, answer)
    monkeypatch.setattr(grant_commands, "send", send)
    monkeypatch.setattr("privcompute.cli.common.time.time_ns", lambda: made.chain.time * 1_000_000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "page.py").write_text(PAGE)
    (tmp_path / "noisy.py").write_text(NOISY)
    return made


def assent(*words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--node", "http://127.0.0.1:1"], env={"ASSENT_AS": ""})


def ok(*words: str) -> str:
    done = assent(*words)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def no(*words: str) -> str:
    done = assent(*words)
    assert done.exit_code not in (0, None), done.output
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    return " ".join(done.output.split())


def ask(*more: str, page: str = "ages", dataset: str = "city/people", name: str = "bank/p") -> str:
    return ok("grant", "request", name, "--for", page, "--dataset", dataset, *INPUTS, *ASK, *more)


# --- asking ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", ["ages", "page.py"])
def test_a_request_for_a_page_asks_for_what_it_needs_and_no_more(chain: Chain, page: str) -> None:
    said = ask(page=page)
    assert "it asks for exactly what page ages needs of city/people" in said
    grant = chain.grant("bank/p")
    assert (grant["columns"], grant["run_epsilon"]) == (NEEDED, 10**9)
    assert (grant["programs"], grant["receivers"], grant["co_parties"]) == (["ages"], ["bank"], ["bank"])
    assert (grant["quota_runs"], grant["version"], grant["membership"]) == (1, 1, ["bank"])
    assert grant["asked_because"] == (
        'page with {"inputs":{"loans":"bank/loans@1","people":"city/people@1"},"parameters":{}}'
    )
    asked_for_loans = ok(
        "grant", "request", "bank/l", "--for", page, "--dataset", "bank/loans", *INPUTS, *ASK
    )
    assert "exactly" in asked_for_loans
    assert chain.grant("bank/l")["columns"] == {"id": "join-only", "amount": "encrypted-only"}
    assert chain.grant("bank/l")["run_epsilon"] == 0, "nothing of loans has a part in a figure with noise"
    assert chain.grant("bank/l")["membership"] == ["city"], "its owner learns which rows of others it shares"


def test_parameters_decide_what_is_asked_for_and_are_said(chain: Chain) -> None:
    ask("--set", "column=height", "--set", "least=0.5")
    grant = chain.grant("bank/p")
    assert "height" in grant["columns"]
    assert "age" not in grant["columns"]
    basis = read_basis(grant["asked_because"])
    assert basis is not None
    assert basis.parameters == {"column": "height", "least": {"number": "1/2"}}


def test_more_than_a_page_needs_is_asked_for_with_a_reason_alone(chain: Chain) -> None:
    words = ("grant", "request", "bank/p", "--for", "ages", "--dataset", "city/people", *INPUTS, *ASK)
    more = ("--column", "income=plain", "--column", "age=plain", "--receiver", "city", "--program", "other")
    said = no(*words, *more)
    for part in (
        "column income=plain, which its pages do not use",
        "column age=plain, where aggregate-only is",
        "receiver city, to whom its pages release nothing",
        "program other",
        "--because",
    ):
        assert part in said
    assert chain.grant("bank/p") is None
    ok(*words, *more, "--because", "for a check by hand")
    assert chain.grant("bank/p")["asked_because"] == "for a check by hand"
    assert chain.grant("bank/p")["columns"]["age"] == "plain"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--for", "none", *INPUTS), "see: assent program list"),
        (("--for", "ages"), "--input loans=OWNER/NAME"),
        (("--for", "ages", "--input", "loans=bank/loans"), "no dataset is given for people"),
        (("--for", "ages", "--input", "loans=bank"), "ids are OWNER/NAME"),
        (("--for", "ages", "--input", "loans=bank/loans@x"), "a version is a number"),
        (("--for", "ages", "--input", "loans=bank/loans@7", *INPUTS[2:]), "no such entry"),
        (("--for", "ages", "--input", "loans=bank/loans", "--input", "loans=bank/loans"), "each name once"),
        (("--for", "ages", *INPUTS), "name one of the inputs by --dataset (bank/loans@1, city/people@1)"),
        (("--for", "ages", *INPUTS, "--dataset", "bank/none"), "name one of the inputs by --dataset"),
        (("--for", "ages", *INPUTS, "--dataset", "city/people", "--set", "no=1"), "has no parameter 'no'"),
        (("--for", "ages", *INPUTS, "--set", f"column={'x' * 250}"), "a column's name of 250"),
        ((), "give --dataset, or --for PAGE"),
        (("--dataset", "city/people", "--column", "age"), "give --program"),
    ],
)  # fmt: skip
def test_a_request_that_does_not_say_enough_is_told_what_to_give(
    chain: Chain, words: tuple[str, ...], part: str
) -> None:
    assert part in no("grant", "request", "bank/p", *words, *ASK)
    assert chain.grant("bank/p") is None


@pytest.mark.usefixtures("chain")
def test_a_page_that_is_no_program_is_to_be_proposed_first(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PAGE.replace("Mean", "The mean"))
    said = no("grant", "request", "bank/p", "--for", "mine.py", "--dataset", "city/people", *INPUTS, *ASK)
    assert "assent program propose NAME FILE" in said


# --- approving ---------------------------------------------------------------------------------------------
def request_by_hand(chain: Chain, columns: dict[str, str], because: str = "", **over: Any) -> None:
    terms: dict[str, Any] = {"id": "bank/p", "dataset": "city/people", "version": 1, "columns": columns}
    terms |= {"purpose": "risk", "legal_basis": "", "asked_because": because, "programs": ["ages"]}
    terms |= {
        "receivers": ["bank"],
        "co_parties": ["bank"],
        "membership": ["bank"],
        "profile": "rep3",
        "not_before": 0,
    }
    terms |= {"expires": chain.chain.time + DAY_MS, "quota_runs": 1, "min_group": 10}
    terms |= {"run_epsilon": 10**9, "policy": ""}
    chain.call("bank", "grants", "request", **terms | over)
    chain.speaker = "city"


def test_what_a_page_needs_is_approved_and_said_to_be_no_more(chain: Chain) -> None:
    ask()
    chain.speaker = "city"
    shown = ok("grant", "show", "bank/p")
    assert "its page is used with loans = bank/loans@1, people = city/people@1; its defaults" in shown
    said = ok("grant", "approve", "bank/p")
    assert "it asks for no more than its pages need (1 page traced with what the request names)" in said
    assert chain.status("bank/p") == "active"


def test_a_wider_request_without_a_reason_is_not_approved(chain: Chain) -> None:
    request_by_hand(
        chain,
        NEEDED | {"age": "plain", "income": "encrypted-only"},
        receivers=["bank", "registry"],
        membership=["bank", "registry"],
        run_epsilon=2_500_000_000,
        because=NAMED,
    )
    said = no("grant", "approve", "bank/p")
    for part in (
        "column age=plain, where aggregate-only is enough",
        "column income=encrypted-only, which its",
        "receiver registry, to whom",
        "membership registry, to whom its pages do not tell which rows are joined",
        "epsilon 2.5 a run, where 1 is enough",
        "--as-needed",
    ):
        assert part in said
    assert chain.status("bank/p") == "requested"
    assert "it gives no reason in words" in ok("grant", "show", "bank/p")
    assert "it asks for no more" in ok("grant", "approve", "bank/p", "--as-needed")
    agreed = chain.grant("bank/p")
    assert (agreed["columns"], agreed["receivers"], agreed["membership"]) == (NEEDED, ["bank"], ["bank"])
    assert agreed["run_epsilon"] == 10**9


def test_a_key_of_another_name_stands_for_the_id_of_a_page_that_names_no_datasets(chain: Chain) -> None:
    columns = [column("person", "text", "identifier"), column("age", "integer"), column("home", "category")]
    for method, args in declaring(columns):
        chain.call("city", "datasets", method, **args)
    given: dict[str, Value] = {"schema": seal_of(columns), "root": bytes(32), "size_bucket": ""}
    chain.call("city", "datasets", "new_version", id="city/people", **given)
    needed = {"person": "join-only", "age": "aggregate-only", "home": "exact-aggregate"}
    request_by_hand(chain, needed, version=2)
    assert "it asks for no more than its pages need" in ok("grant", "approve", "bank/p")


def test_stricter_terms_that_leave_what_is_needed_are_approved(chain: Chain) -> None:
    request_by_hand(chain, NEEDED | {"income": "plain"})
    ok("grant", "approve", "bank/p", "--terms", json.dumps({"columns": NEEDED}))
    assert chain.grant("bank/p")["columns"] == NEEDED


def test_the_epsilon_of_a_run_follows_of_the_parameters_that_are_given(chain: Chain) -> None:
    ask("--set", "epsilon=0.25", page="noisy.py")
    assert chain.grant("bank/p")["run_epsilon"] == 250_000_000
    assert "epsilon 2 a run, where 0.25 is enough" in no(
        *("grant", "request", "bank/q", "--for", "noisy.py", "--dataset", "city/people", *INPUTS, *ASK),
        *("--set", "epsilon=0.25", "--epsilon", "2"),
    )


@pytest.mark.parametrize("words", [("--epsilon", "0.1"), ("--terms", '{"run_epsilon": 0.1}')])
@pytest.mark.usefixtures("chain")
def test_an_owner_approves_less_epsilon_as_people_write_it(chain: Chain, words: tuple[str, ...]) -> None:
    ask()
    chain.speaker = "city"
    said = ok("grant", "approve", "bank/p", *words, "--runs", "1")
    assert chain.grant("bank/p")["run_epsilon"] == 100_000_000
    assert "a run takes epsilon 0.1 of the account at most, 1 run 0.1" in said
    assert "its pages take more with these parameters" in said
    assert "a run may take epsilon 0.1, and takes 1" in check("ages")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--epsilon", "much"), "--epsilon 'much': give a number from 0 to 1000"),
        (("--epsilon", "-1"), "--epsilon '-1': give a number from 0 to 1000"),
        (("--terms", '{"run_epsilon": 1001}'), "--terms run_epsilon '1001': give a number from 0 to 1000"),
    ],
)
def test_an_epsilon_that_is_none_is_named_with_its_range(
    chain: Chain, words: tuple[str, ...], part: str
) -> None:
    ask()
    chain.speaker = "city"
    assert part in no("grant", "approve", "bank/p", *words)


@pytest.mark.usefixtures("chain")
def test_a_request_by_hand_for_figures_with_noise_says_how_much() -> None:
    words = ("grant", "request", "bank/p", "--dataset", "city/people", "--column", "age=aggregate-only")
    said = no(*words, "--program", "ages", "--receiver", "bank", "--runs", "1", *ASK)
    assert "--column age=aggregate-only is for figures with noise: say how much a run may take" in said


def test_whoever_decides_reads_what_a_run_takes_and_what_is_left(chain: Chain) -> None:
    ask("--runs", "2")
    chain.speaker = "city"
    chain.call("city", "accounts", "lower_caps", id="city/people", caps={"grantee_epsilon": 1_500_000_000})
    for shown in (ok("grant", "show", "bank/p"), ok("grant", "approve", "bank/p")):
        said = " ".join(shown.split())
        for part in (
            "a run takes epsilon 1 of the account at most, 2 runs 2",
            "city/people epsilon 1 1.5",
            "city/people exact figures of home 2 75",
            "what is left is our node's word",
        ):
            assert part in said
    (takes,) = json.loads(ok("grant", "show", "bank/p", "--json"))["takes"]
    assert (takes["a_run"]["epsilon"], takes["left"]["epsilon"]) == (10**9, 1_500_000_000)


def test_a_page_that_cannot_run_on_what_is_registered_is_refused_where_grants_are_asked_for(
    chain: Chain,
) -> None:
    request = ("grant", "request", "bank/p", "--for", "ages", "--dataset", "city/people", *INPUTS, *ASK)
    for said in (
        no(*request, "--set", "column=income"),
        no("program", "check", "ages", "--org", "bank", "--set", "column=income"),
    ):
        assert "page ages cannot run on what is registered" in said
        assert "ages:8:5: DOMAIN_NOT_REGISTERED: noise covers a sum of people.income" in said
    assert chain.grant("bank/p") is None


def test_a_reason_in_words_is_read_and_may_be_approved(chain: Chain) -> None:
    request_by_hand(chain, NEEDED | {"income": "plain"}, because="a check by hand\nas agreed")
    said = ok("grant", "approve", "bank/p")
    assert "it asks for more than its pages need: column income=plain, which its pages do not use" in said
    assert "its reason: a check by hand" in said
    assert "\nas agreed" not in said
    assert chain.status("bank/p") == "active"


@pytest.mark.parametrize(
    "because",
    [
        'page with {"inputs":{"loans":"bank/loans@1","people":"bank/loans@1"},"parameters":{}}',
        'page with {"inputs":{"loans":"bank/loans@1","people":"city/people@9"},"parameters":{}}',
        'page with {"inputs":{"loans":"bank/loans@1","people":"city/people@1"},"parameters":{"no":1}}',
    ],
)
def test_a_basis_on_which_the_page_does_not_stand_is_no_reason(chain: Chain, because: str) -> None:
    request_by_hand(chain, NEEDED, because=because)
    said = no("grant", "approve", "bank/p")
    assert "asks for more than its pages need" in said
    assert chain.status("bank/p") == "requested"


@pytest.mark.usefixtures("chain")
def test_parameters_are_shown_as_people_write_them() -> None:
    said = ask("--set", "epsilon=0.25", "--set", "least=0.5", page="noisy.py")
    assert "a run may take epsilon 0.25 of the account" in said
    shown = ok("grant", "show", "bank/p")
    assert "people = city/people@1; epsilon = 0.25, least = 0.5" in shown
    assert '{"number"' not in shown


def test_parameters_that_a_request_names_are_judged_with(chain: Chain) -> None:
    named = Basis({"loans": ("bank/loans", 1), "people": ("city/people", 1)}, {"column": "height"})
    columns = {"id": "join-only", "height": "aggregate-only", "home": "exact-aggregate"}
    request_by_hand(chain, columns, because=named.text())
    assert "it asks for no more than" in ok("grant", "approve", "bank/p")


def test_programs_of_agents_are_not_held_against_pages(chain: Chain) -> None:
    request_by_hand(chain, NEEDED | {"income": "plain"}, programs=["unheard-of"])
    said = ok("grant", "approve", "bank/p")
    assert "not held against pages: unheard-of is no program yet: what it needs is not known" in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "words",
        "page with ",
        "page with 3",
        "page with {}",
        'page with {"inputs":{"a":"x"},"parameters":{}}',
        'page with {"inputs":{"a":"b/c"},"parameters":{}}',
        'page with {"inputs":{"a":"b/c@1"},"parameters":{"x":0.5}}',
        'page with {"inputs":[],"parameters":{}}',
        "page with " + "[" * 240,
        'page with {"inputs":{"a":"b/c@1"},"parameters":{"x":NaN}}',
    ],
)
def test_what_is_no_basis_counts_as_words_or_nothing(text: str) -> None:
    assert read_basis(text) is None


def test_a_basis_is_read_back_as_it_is_said() -> None:
    basis = Basis({"loans": ("bank/loans", 2)}, {"columns": ["a", 3], "share": {"number": "1/2"}})
    assert read_basis(basis.text()) == basis
    assert dataset_version("bank/loans") == ("bank/loans", 0)
    with pytest.raises(UsageFault, match="a version is a number from 1 on"):
        dataset_version("bank/loans@0")


def test_a_grant_on_a_dataset_that_its_basis_does_not_name_needs_nothing() -> None:
    grant = {"dataset": "a/b", "version": 1, "columns": {"x": "plain"}, "receivers": [], "membership": []}
    grant["run_epsilon"] = 0
    judged = compared(grant, [], Basis({}, {}), "")
    assert judged.refused
    assert judged.beyond == ("column x=plain, which its pages do not use",)


# --- holding -----------------------------------------------------------------------------------------------
def check(*words: str) -> str:
    return ok("program", "check", *words, "--org", "bank")


@pytest.mark.usefixtures("chain")
def test_what_is_missing_is_said_with_the_command_that_asks_for_it() -> None:
    said = check("page.py")
    assert "not granted" in said
    assert "bank/NAME --for page.py --dataset city/people --input loans=bank/loans@1 --input people" in said
    found = json.loads(check("ages", "--json"))
    assert found["program"] == "ages"
    people = next(one for one in found["held"]["datasets"] if one["dataset"] == "city/people")
    assert (people["needed"], people["grant"]) == (NEEDED, "")


def test_what_is_held_is_proved_and_what_a_grant_lacks_is_named(chain: Chain) -> None:
    few = {"id": "join-only", "age": "encrypted-only"}
    more: dict[str, Any] = {"programs": ["other"], "receivers": ["city"], "membership": []}
    request_by_hand(chain, few, because="x", **more)
    said = check("ages")
    for part in (
        "it is requested",
        "it does not name program ages",
        "bank may not receive",
        "bank may not learn which rows are joined",
        "home: not granted",
        "age: encrypted-only does not allow what aggregate-only does",
    ):
        assert part in said
    chain.speaker = "bank"
    assert "exactly" in ask(name="bank/q")
    chain.speaker = "city"
    ok("grant", "approve", "bank/q")
    found = json.loads(check("page.py", "--json"))["held"]
    people = next(one for one in found["datasets"] if one["dataset"] == "city/people")
    assert (people["grant"], people["granted"], people["missing"]) == ("bank/q", NEEDED, [])
    assert len(found["ask"]) == 1, "the grant on the bank's own loans is still to be asked for"
    assert "bank/loans" in found["ask"][0]


def test_nothing_is_missing_where_all_is_granted(chain: Chain) -> None:
    for name, dataset, owner in (("bank/l", "bank/loans", "bank"), ("bank/p", "city/people", "city")):
        chain.speaker = "bank"
        ask(dataset=dataset, name=name)
        chain.speaker = owner
        ok("grant", "approve", name)
    assert "nothing is missing" in check("ages")
    chain.chain.advance(time=400 * 12 * DAY_MS)
    assert "its time has not come or is over" in check("ages")


@pytest.mark.usefixtures("chain")
def test_names_that_no_dataset_or_several_have_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(PAGE.replace("loans", "credits"))
    said = no("program", "check", "page.py", "--org", "bank")
    assert "which dataset stands for credits? give --input credits=OWNER/DATASET" in said


def test_offline_options_and_options_of_a_node_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.py").write_text(PAGE)
    offline = CliRunner().invoke(main, ["program", "check", "page.py", "--org", "bank"])
    assert "--input and --org ask a node" in " ".join(offline.output.split())
    assert "--data reads files of this host" in no("program", "check", "page.py", "--data", "loans=x.csv")
    assert "give --org ORG, or --as ORGDIR" in no("program", "check", "page.py")


# --- what others can learn --------------------------------------------------------------------------------
def test_whoever_decides_reads_what_each_constraint_and_membership_let_others_learn(chain: Chain) -> None:
    ask()
    chain.speaker = "city"
    for shown in (ok("grant", "show", "bank/p"), ok("grant", "approve", "bank/p")):
        said = " ".join(shown.split())
        for part in (
            "what bank can learn by it, with whoever receives results:",
            "- age (aggregate-only): figures with noise (dp). Whatever else somebody knows, a total epsilon "
            "of e makes no guess about one row's values more than exp(e) times as likely",
            "- home (exact-aggregate): exact counts and unweighted sums over groups of 10 rows or more",
            "only from somebody who knows the totals and fewer than 5 members of its group",
            "- id (join-only): nothing of them leaves: they decide which rows are joined.",
            "- membership: bank may learn which rows of city/people are in a join: which of city's rows are "
            "also theirs, and that each of the others is not.",
        ):
            assert part in said
    assert len(json.loads(ok("grant", "show", "bank/p", "--json"))["may_learn"]) == 4


def test_a_grant_without_membership_says_that_its_joins_are_refused(chain: Chain) -> None:
    request_by_hand(chain, NEEDED, membership=[])
    said = " ".join(ok("grant", "show", "bank/p").split())
    assert "- membership: nobody else may learn which rows of city/people are in a join" in said


@pytest.mark.usefixtures("chain")
def test_what_others_can_learn_is_said_in_lines_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    ask()
    monkeypatch.setenv("COLUMNS", "80")
    said = ok("grant", "show", "bank/p").partition("what bank can learn")[2]
    assert max(map(len, said.splitlines())) <= 80
