"""The verifiers of the examples agree with `assent audit verify` on good, mutated and forged packages.

`PYTHONPATH=. python tests/unit/chain/audit/test_second_verifiers.py` compares many more, and says how many.
"""

from __future__ import annotations

import ast
import asyncio
import gzip
import importlib.util
import io
import json
import random
import shutil
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.audit.package import build_package
from chain.audit.verify import verify_bytes
from chain.ledger.genesis import Genesis
from chain.primitives.values import decode_value, encode_value
from tests.unit.chain.audit.forging import forgeries, mutations, not_canonical
from tests.unit.chain.audit.kit import records_of

ROOT = Path(__file__).parents[4]
PYTHON = ROOT / "examples" / "verifier" / "verify.py"
JAVASCRIPT = ROOT / "examples" / "verifier-js" / "verify.mjs"
GOLDEN = ROOT / "tests" / "vectors" / "audit"
LINES_MAX = 400
SUBJECTS = ("dataset:bank/credit", "grant:bureau/g1", "contract:policy", "org:bureau", "org:bank")
NODE = shutil.which("node")
Named = tuple[str, bytes]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("second_verifier", PYTHON)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


SECOND = load()


def ours(data: bytes, genesis: Genesis) -> tuple[str, str]:
    """Return the verdict and the content hash, "" without one."""
    report = verify_bytes(data, genesis)
    return report.verdict.value, "" if report.contents is None else report.contents.content_hash.hex()


def pythons(data: bytes, genesis: Genesis) -> tuple[str, str]:
    verdict, _, package = SECOND.verify(data, genesis.chain_id)
    return verdict, package.content.hexdigest() if package else ""


def javascripts(files: Iterable[Named], genesis: Genesis, folder: Path) -> list[tuple[str, str]]:
    words: list[str] = []
    for at, (_, data) in enumerate(files):
        path = folder / f"{at}.audit"
        path.write_bytes(data)
        words += [str(path), genesis.chain_id.hex()]
    done = subprocess.run([str(NODE), str(JAVASCRIPT), *words], capture_output=True, text=True, check=False)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) * 2 == len(words), done.stderr[-2_000:]
    return [(one["verdict"], one.get("content", "")) for one in said]


def good(story: Any, seed: int, count: int) -> Iterator[Named]:
    """Yield packages of random subjects and ranges."""
    dice, top = random.Random(seed), story.ledger.certified_height
    for _ in range(count):
        subject = dice.choice(SUBJECTS)
        last = dice.randint(12, top)  # all of them have events by then
        first = dice.randint(0, last)
        name = f"{subject} at {first}..{last}"
        yield name, asyncio.run(build_package(story.source, story.genesis, subject, first, last))


def bad(packages: list[bytes], seed: int, every: int, count: int) -> Iterator[Named]:
    """Yield each so-manieth forgery of each package, and so many mutations of each."""
    for at, package in enumerate(packages):
        others = [packages[(at + 1) % len(packages)]]
        yield from list(forgeries(package, others, seed + at))[at % every :: every]
        yield from mutations(package, seed + at, count)
    yield "not canonical", not_canonical(packages[0])


def test_the_python_verifier_is_short_and_needs_nothing_of_assent() -> None:
    text = PYTHON.read_text()
    tree = ast.parse(text)
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    imported |= {
        str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert imported - set(sys.stdlib_module_names) == {"nacl"}
    idle = {
        tokenize.NL,
        tokenize.COMMENT,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    tokens = [one for one in tokenize.generate_tokens(io.StringIO(text).readline) if one.type not in idle]
    texts = [
        node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    words = {line for node in texts for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    assert len({one.start[0] for one in tokens} - words) <= LINES_MAX


NUMBERS = [0, 127, 128, 2**8 - 1, 2**8, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**64 - 1, 2**64]
NEGATIVE = [-1, -32, -33, -128, -129, -(2**15) - 1, -(2**31) - 1, -(2**63), -(2**63) - 1]
SIZES = [0, 1, 13, 14, 15, 16, 31, 32, 255, 256, 65_535, 65_536]


@pytest.mark.parametrize(
    "value",
    [
        *NUMBERS,
        *NEGATIVE,
        *["x" * size for size in SIZES],
        *[b"x" * size for size in SIZES],
        *[[None] * size for size in SIZES],
        *[(True,) * size for size in SIZES],
        "é" * 15,
        ("a", 1, b"c", ("d",)),
    ],
    ids=range(len(NUMBERS) + len(NEGATIVE) + 4 * len(SIZES) + 2),
)
def test_its_bytes_are_those_of_the_ledger_at_every_edge_of_a_form(value: Any) -> None:
    raw = encode_value(value)
    assert SECOND.encode(value) == raw
    assert SECOND.unpack(raw) == (decode_value(raw, max_bytes=len(raw)), len(raw))


def test_the_verifiers_agree_on_the_golden_packages(tmp_path: Path) -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text())
    for name, said in expected.items():
        data = gzip.decompress((GOLDEN / f"{name}.audit.gz").read_bytes())
        genesis = records_of(data)[1][1]
        assert ours(data, genesis) == ("valid", said["content"]), name
        assert pythons(data, genesis) == ("valid", said["content"]), name
        if NODE:
            assert javascripts([(name, data)], genesis, tmp_path) == [("valid", said["content"])]


def compare(files: list[Named], genesis: Genesis, folder: Path) -> Counter[str]:
    """Return how many files met each verdict; fail where two verifiers say different things of one."""
    met: Counter[str] = Counter()
    third = javascripts(files, genesis, folder) if NODE else [None] * len(files)
    for (name, data), other in zip(files, third, strict=True):
        said = ours(data, genesis)
        assert pythons(data, genesis) == said, name
        assert other in (None, said), name
        met[said[0]] += 1
    return met


def test_the_verifiers_agree_on_good_forged_and_mutated_packages(story: Any, tmp_path: Path) -> None:
    whole = [asyncio.run(build_package(story.source, story.genesis, subject)) for subject in SUBJECTS[:3]]
    assert compare(list(good(story, 5, 12)), story.genesis, tmp_path) == {"valid": 12}
    met = compare(list(bad(whole, 6, 20, 32)), story.genesis, tmp_path)
    assert met["invalid"] > 100
    assert met["unreadable"] == 48


def test_as_a_process_it_answers_in_json_and_ends_as_the_table_says(
    package: bytes, story: Any, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(package)
    (tmp_path / "b").write_bytes(package[:-1])
    for file, chain_id, ends, verdict in (
        ("a", story.genesis.chain_id, 0, "valid"), ("a", bytes(32), 6, "foreign"),
        ("b", story.genesis.chain_id, 74, "unreadable"),
    ):  # fmt: skip
        words = [sys.executable, PYTHON, tmp_path / file, chain_id.hex()]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, json.loads(done.stdout)["verdict"]) == (ends, verdict)


def main() -> None:
    """Compare on 500 good packages, all forgeries and 5,100 mutations of three packages, in portions."""
    from tests.unit.chain.audit.conftest import Story

    story = Story()
    story.tell()
    whole = [asyncio.run(build_package(story.source, story.genesis, subject)) for subject in SUBJECTS[:3]]
    for name, files in (("good", good(story, 1, 500)), ("bad", bad(whole, 2, 1, 1_700))):
        met: Counter[str] = Counter()
        portion: list[Named] = []
        for one in files:
            portion.append(one)
            if len(portion) == 100:
                with tempfile.TemporaryDirectory() as folder:
                    met += compare(portion, story.genesis, Path(folder))
                portion = []
        with tempfile.TemporaryDirectory() as folder:
            met += compare(portion, story.genesis, Path(folder))
        print(name, dict(met), "with node" if NODE else "without node")


if __name__ == "__main__":
    main()
