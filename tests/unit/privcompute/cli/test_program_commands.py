"""`assent program new`, `check` and `run`: pages on sample files, and what broken ones are told."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli.main import main
from chain.cli.program import program

Assent = Callable[..., Result]


@pytest.fixture
def assent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Assent:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    loans = "".join(f"P{row:03},{100 + 7 * row},{row / 40:.3f}\n" for row in range(60))
    people = "".join(
        f"P{row:03},{20 + row % 50},{('own', 'rent', 'free')[row % 3]}\n" for row in range(10, 75)
    )
    (tmp_path / "loans.csv").write_text("id,amount,rate\n" + loans)
    (tmp_path / "people.csv").write_text("id,age,housing\n" + people)
    return lambda *words: CliRunner().invoke(main, ["program", *words])


DATA = ("--data", "loans=loans.csv", "--data", "people=people.csv")


EXACT = '''"""How much people owe by kind of housing, without noise."""


def run(loans, people, *, receiver="regulator"):
    rows = join(loans, people)
    housing = rows.people.housing
    release(count(rows, by=housing), to=receiver, exact=True, name="people by housing")
    release(mean(rows.loans.amount, by=housing), to=receiver, exact=True, name="mean amount by housing")
'''


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def test_a_new_page_is_checked_and_run(assent: Assent) -> None:
    assert "next: assent program check page.py" in ok(assent("new", "page.py"))
    checked = ok(assent("check", "page.py"))
    assert "people.housing  aggregate-only" in checked
    assert "loans    epsilon" in checked
    assert "Which rows are joined is told by no release" in checked
    assert "registered datasets may ask for more" in " ".join(checked.split())
    assert all(len(line) <= 80 for line in checked.splitlines())
    shown = ok(assent("run", "page.py", *DATA))
    assert "page.py on loans 60, people 65 rows, joined 50" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_a_check_names_the_datasets_whose_owner_it_took_for_granted(assent: Assent) -> None:
    """It took the dataset's name for that of its owner and said nothing."""
    ok(assent("new", "page.py"))
    said = " ".join(ok(assent("check", "page.py", *DATA, "--owner", "loans=bank")).split())
    assert "taken to be of an organisation of the dataset's own name" in said
    assert "give --owner people=ORG to propose" in said
    owners = ("--owner", "loans=bank", "--owner", "people=city")
    assert "taken to be of" not in ok(assent("check", "page.py", *DATA, *owners))
    found = json.loads(ok(assent("check", "page.py", *DATA, "--json")))
    assert (found["assumed_owners"], found["warnings"]) == (["loans", "people"], [])


def test_a_page_is_not_written_over_a_file(assent: Assent) -> None:
    ok(assent("new", "page.py"))
    result = assent("new", "page.py")
    assert result.exit_code != 0
    assert "page.py exists; name another file" in result.output


def test_figures_stand_side_by_side_with_their_difference(assent: Assent) -> None:
    Path("page.py").write_text(EXACT)
    found = json.loads(ok(assent("run", "page.py", *DATA, "--json")))
    counts, means = found["figures"]
    assert counts["clear"] == counts["joint"] == ["17", "16", "17"]
    assert counts["axes"] == [{"categories": ["free", "own", "rent"], "of": "people.housing"}]
    amounts = [[100 + 7 * row for row in range(10, 60) if row % 3 == kind] for kind in (2, 0, 1)]
    for clear, joint, cells in zip(means["clear"], means["joint"], amounts, strict=True):
        assert float(clear) == pytest.approx(sum(cells) / len(cells))
        assert float(joint) == pytest.approx(float(clear), abs=1e-4)
    assert float(means["difference"]) < 1e-4
    assert found["rounds"] > 0


def test_small_groups_are_hidden_with_min_group(assent: Assent) -> None:
    Path("page.py").write_text(EXACT)
    found = json.loads(ok(assent("run", "page.py", *DATA, "--min-group", "17", "--json")))
    assert found["figures"][0]["joint"] == [None, None, None]
    assert found["figures"][0]["clear"] == ["17", "16", "17"]
    assert "hidden" in ok(assent("run", "page.py", *DATA, "--min-group", "17"))


EVERYTHING = '''"""A page with most of what there is."""


def run(loans, people, *, share=0.3, names=("a",)):
    rows = join(loans, people)
    chosen = lot(rows, share)
    x = rows.loans.rate * rows.people.age
    release(sum(where(chosen, exp(x / 40), 0)), to="city", exact=True, name="exp of some")
    order, other = sort_by(x, x, rows.loans.amount)
    release(first(other, 3), to="city", exact=True, name="first amounts")
    w = zeros(2)
    for step in repeat(5):
        w = w + stack([mean(rows.loans.rate), 1 / (step + 1)])
    release(w, to=names[0], exact=True, name="loop")
    release(count(rows, by=bins(rows.people.age, edges=[20, 40, 70])), to="city", exact=True, name="ages")
    keep(x, name="products")
'''


def test_parameters_are_given_as_json_and_kept_exact(assent: Assent, tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(EVERYTHING)
    given = ("--set", "share=0.5", "--set", 'names=["bank"]')
    found = json.loads(ok(assent("run", "page.py", *DATA, *given, "--json")))
    assert {one["receiver"] for one in found["figures"]} == {"city", "bank"}
    assert found["kept"] == {"products": [50]}
    for one in found["figures"]:
        assert float(one["difference"]) < 0.01, one
    checked = json.loads(ok(assent("check", "page.py", *given, "--json")))
    assert checked["parameters"] == {"share": {"number": "1/2"}, "names": ["bank"]}
    assert checked["plan"] != found["plan"], "types of columns are in the plan"


def test_costs_are_stated_for_rows(assent: Assent) -> None:
    Path("page.py").write_text(EXACT)
    rows = ("--rows", "loans=10000", "--rows", "people=20000", "--joined", "8000")
    found = json.loads(ok(assent("check", "page.py", *DATA, *rows, "--json")))
    stated = found["costs"]["rep3"]["stated"]
    assert stated["rounds"] > 10
    assert stated["sent"] > 8_000 * 8
    assert "seconds" in ok(assent("check", "page.py", *rows))
    assert "state the rows" in ok(assent("check", "page.py"))


def test_the_plan_is_printed_step_by_step(assent: Assent, tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(EVERYTHING)
    shown = ok(assent("check", "page.py", "--plan"))
    assert "#0 column(" in shown
    assert "release #" in shown
    assert "keep #" in shown


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("check", "none.py"), "none.py: No such file or directory; give a file that can be read"),
    (("check", "."), "give a file that can be read"),
    (("check", "broken.py"), "broken.py:5:"),
    (("check", "binary.py"), "binary.py is no UTF-8 text at byte 0"),
    (("check", "large.py"), "more than 65536 bytes"),
    (("run", "page.py"), "give each dataset of the page a file: --data loans=loans.csv"),
    (("run", "page.py", "--data", "loans=loans.csv"), "no dataset is given for people"),
    (("run", "page.py", "--data", "loans"), "--data 'loans': each name once, as in --data loans=…"),
    (("run", "page.py", *DATA, "--data", "loans=x.csv"), "each name once"),
    (("run", "page.py", *DATA, "--key", "cards=no"), "there is no --data cards=FILE"),
    (("run", "page.py", *DATA, "--key", "loans=no"), "has no such column; it has id, amount, rate"),
    (("run", "page.py", "--data", "loans=none.csv", "--data", "people=people.csv"), "none.csv"),
    (("run", "page.py", *DATA, "--set", "share=1"), "this page has no parameter 'share'"),
    (("check", "page.py", "--rows", "loans=many"), "--rows loans=many: a number of rows"),
    (("check", "page.py", "--rows", "loans=" + "9" * 5_000), "--rows loans=9999"),
    (("run", "apart.py", *DATA), "no id is in all datasets that are joined"),
    (("run", "noisy.py", *DATA), "asks for more noise than shares hold; ask for an epsilon of"),
]


@pytest.mark.parametrize(
    ("words", "said"), REFUSED, ids=lambda one: " ".join(one)[:40] if isinstance(one, tuple) else ""
)
def test_what_is_wrong_is_named_with_a_remedy(
    assent: Assent, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    Path("page.py").write_text(EXACT)
    page = (tmp_path / "page.py").read_text()
    (tmp_path / "broken.py").write_text('"""B."""\n\n\ndef run(loans):\n    while True:\n        pass\n')
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large.py").write_text("#" * 70_000)
    (tmp_path / "apart.py").write_text(
        page.replace("join(loans, people)", 'join(loans, people, on=("id", "housing"))')
    )
    (tmp_path / "noisy.py").write_text(
        page.replace('exact=True, name="people', 'noise=laplace(epsilon=0.000000000001), name="people')
    )
    result = assent(*words)
    assert result.exit_code != 0
    assert said in result.output
    assert not isinstance(result.exception, AssertionError)


def test_a_figure_with_noise_is_shown_with_its_interval_beside_the_one_without(
    assent: Assent, tmp_path: Path
) -> None:
    Path("page.py").write_text(EXACT)
    page = (tmp_path / "page.py").read_text()
    noisy = page.replace('exact=True, name="people', 'noise=laplace(epsilon=10), name="people')
    assert noisy != page
    (tmp_path / "noisy.py").write_text(noisy)
    said = ok(assent("run", "noisy.py", *DATA))
    assert "95 % interval" in said
    assert "laplace noise, epsilon 10, delta 2.73e-12" in said
    assert max(map(len, said.splitlines())) <= 80
    found = json.loads(ok(assent("run", "noisy.py", *DATA, "--json")))["figures"][0]
    assert found["clear"] == ["17", "16", "17"]
    assert all(float(low) <= float(cell) <= float(high) for low, cell, high in _columns(found))


def _columns(figure: dict[str, Any]) -> list[tuple[str, str, str]]:
    low, high = figure["interval"]
    return list(zip(low, figure["joint"], high, strict=True))


def test_a_schema_file_says_types_key_and_categories(assent: Assent, tmp_path: Path) -> None:
    Path("page.py").write_text(EXACT)
    columns: list[dict[str, Any]] = [
        {"name": "id", "type": "text", "sensitivity": "identifier"},
        {"name": "age", "type": "integer", "sensitivity": "personal"},
        {"name": "housing", "type": "category", "categories": ["own", "rent", "free", "other"],
         "sensitivity": "personal"},
    ]  # fmt: skip
    (tmp_path / "people.json").write_text(json.dumps({"key": ["id"], "columns": columns}))
    found = json.loads(ok(assent("run", "page.py", *DATA, "--schema", "people=people.json", "--json")))
    assert found["figures"][0]["clear"] == ["16", "17", "17", "0"]


GUIDE = Path(__file__).parents[4] / "docs/write-a-page.md"


def test_the_guide_of_authors_runs_as_it_stands_up_to_the_vote(assent: Assent, tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for name, content in re.findall(r"```(?:text|python) (\S+)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(content, encoding="utf-8")
    commands = re.findall(r"^\$ assent program (.+)$", text, re.MULTILINE)
    ours = [shlex.split(command) for command in commands if command.split()[0] in ("new", "check", "run")]
    shown = [ok(assent(*words)) for words in ours]
    assert len(shown) == 5
    checked, whole, plain, grouped, named = shown
    assert "loans.amount    aggregate-only" in checked
    assert "people.housing  exact-aggregate" in checked
    assert "#0 column(" in whole
    assert "6,100" in plain
    assert "laplace noise, epsilon 1" in plain
    assert "hidden" in grouped
    assert "to bank" in named
    for command in commands:
        assert command.split()[0] in program.commands, f"the guide types a command that is none: {command}"


def test_what_no_job_can_run_is_warned_of_and_refused_where_files_say_what_is_declared(
    assent: Assent, tmp_path: Path
) -> None:
    """It passed here and at the vote, and failed at the first job, with no line."""
    page = EXACT.replace('exact=True, name="mean', 'noise=laplace(epsilon=1), name="mean')
    (tmp_path / "page.py").write_text(page)
    said = " ".join(ok(assent("check", "page.py")).split())
    assert "warning: page.py:7: a job is refused unless categories of people.housing are registered" in said
    assert "warning: page.py:8: a job is refused unless low and high of loans.amount are registered" in said
    found = json.loads(ok(assent("check", "page.py", "--json")))
    assert found["to_register"][-1] == "page.py:8: low and high of loans.amount"
    refused = assent("check", "page.py", *DATA)
    assert refused.exit_code != 0
    assert "page.py:8:5: DOMAIN_NOT_REGISTERED: noise covers a sum of loans.amount" in refused.output
    columns = [{"name": "id", "type": "text", "sensitivity": "identifier"},
               {"name": "amount", "type": "integer", "low": "0", "high": "1000"}]  # fmt: skip
    (tmp_path / "loans.json").write_text(json.dumps({"key": ["id"], "columns": columns}))
    assert "warning" not in ok(assent("check", "page.py", *DATA, "--schema", "loans=loans.json"))


def test_noise_on_a_column_that_is_filled_with_means_is_refused_by_that_cause(
    assent: Assent, tmp_path: Path
) -> None:
    (tmp_path / "page.py").write_text(
        '"""Rates."""\n\n\ndef run(loans):\n'
        '    release(mean(clip(loans.rate, 0, 2)), to="city", noise=laplace(epsilon=1), name="rate")\n'
    )
    columns = [{"name": "id", "type": "text", "sensitivity": "identifier"},
               {"name": "rate", "type": "decimal", "missing": "mean"}]  # fmt: skip
    (tmp_path / "loans.json").write_text(json.dumps({"key": ["id"], "columns": columns}))
    refused = assent("check", "page.py", *DATA[:2], "--schema", "loans=loans.json")
    assert "page.py:5:5: NOISE_UNBOUNDED: the owner of loans.rate fills its missing cells" in refused.output
