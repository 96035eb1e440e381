"""The starter that `assent contract new` writes: a small contract, its test, and names for editors."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from chain.primitives.errors import AssentError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
STUB = "__builtins__.pyi"


class StarterError(AssentError):
    """The error of a starter that cannot be written: it says which name or folder to give."""

    code = "contract_new"


CONTRACT = '''"""{name}: for which purposes data may be used, and over how many rows at least.

A grant whose `policy` is this contract asks `allow` at every step of a job: its phase is proposed, accepted,
running or reveal.
"""

owner = Var(str, "")
purposes = Map(str, int)  # purpose -> fewest rows over which a result may be computed

PurposeSet = Event(by=subject, contract=subject, purpose=str, min_group=int)
Denied = Error("NOT_OWNER")


@init
def setup(org: str, initial: dict[str, int]):
    """Runs once, when the members put the contract in force."""
    owner.set(org)
    for purpose in initial:
        put(purpose, initial[purpose])


@export
def set_purpose(purpose: str, min_group: int):
    """The owner admits a purpose, or changes its bound."""
    if ctx.org != owner.get() or "admin" not in ctx.roles:
        raise Denied
    put(purpose, min_group)


@view
def allow(job: dict, phase: str) -> bool:
    """What grants ask; anything but True stops the job."""
    return why(job, phase) == ""


@view
def why(job: dict, phase: str) -> str:
    """The same question for people: the reason, or an empty text."""
    least = purposes.get(job["purpose"])
    if least is None:
        return "PURPOSE_NOT_LISTED"
    if job["min_group"] < least:
        return "TOO_FEW_ROWS"
    return ""


def put(purpose: str, min_group: int):
    require(min_group >= 1, "BAD_MIN_GROUP")
    purposes[purpose] = min_group
    me = "contract:" + ctx.contract
    PurposeSet(by="org:" + owner.get(), contract=me, purpose=purpose, min_group=min_group)
'''

TEST = '''"""What {name} allows; run with `pytest` in this folder."""

from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("{module}.py")
JOB = {{"purpose": "credit-risk", "min_group": 20}}


@pytest.fixture
def chain(local_chain):
    local_chain.deploy(SOURCE, "{name}", init={{"org": "bank", "initial": {{"credit-risk": 10}}}})
    return local_chain


def test_a_listed_purpose_over_enough_rows_is_allowed(chain):
    assert chain.view("{name}", "allow", job=JOB, phase="proposed") is True


def test_too_few_rows_and_unlisted_purposes_are_refused(chain):
    few, other = {{**JOB, "min_group": 9}}, {{**JOB, "purpose": "ads"}}
    assert chain.view("{name}", "why", job=few, phase="reveal") == "TOO_FEW_ROWS"
    assert chain.view("{name}", "why", job=other, phase="reveal") == "PURPOSE_NOT_LISTED"
    assert chain.view("{name}", "allow", job=other, phase="reveal") is False


def test_the_owner_alone_changes_purposes_and_leaves_a_trace(chain):
    chain.as_("bank").call("{name}", "set_purpose", purpose="audit", min_group=5)
    assert chain.events[-1].subjects == ("org:bank", "contract:{name}")
    assert chain.gas_of() < 20_000
    with chain.expect_revert("NOT_OWNER"):
        chain.as_("rival").call("{name}", "set_purpose", purpose="audit", min_group=1)
    with chain.expect_revert("BAD_MIN_GROUP"):
        chain.as_("bank").call("{name}", "set_purpose", purpose="audit", min_group=0)
'''


def module_of(name: str) -> str:
    """Return the file name, without `.py`, for a contract's name."""
    module = re.sub(r"[^a-z0-9]", "_", name)
    return module if module[0].isalpha() else f"contract_{module}"


def write_starter(name: str, folder: Path) -> list[Path]:
    """Write a contract, its test and the names for editors into a new or empty folder; return the files."""
    if not NAME.fullmatch(name):
        raise StarterError(
            f"{name!r} cannot name a contract: 1 to 64 of a-z, 0-9, '.', '_', '-', first a letter or digit"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StarterError(f"{folder} exists and is not an empty folder: give another one with --into")
    module = module_of(name)
    stub = (resources.files("contracts") / "assent.pyi").read_text(encoding="utf-8")
    texts = {
        f"{module}.py": CONTRACT.replace("{name}", name),
        f"test_{module}.py": TEST.format(name=name, module=module),
        STUB: stub,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in texts]
