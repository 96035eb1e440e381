"""Every example of contracts/README.md does what the page shows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import contracts
from chain.primitives.runtimeport import SIGNER_REFUSALS
from contracts.cli import contract

README = Path(__file__).parents[3] / "contracts" / "README.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    return BLOCK.findall(README.read_text(encoding="utf-8"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind, name, text in blocks():
        if kind == "python":
            (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_prints_what_the_page_shows(files: Path) -> None:
    shown = "".join(text for kind, _, text in blocks() if kind == "console")
    printed = ""
    for line in shown.splitlines():
        if line.startswith("$ assent contract "):
            result = CliRunner().invoke(contract, shlex.split(line.removeprefix("$ assent contract ")))
            printed += f"{line}\n{result.output}"
    assert printed == shown
    assert files.exists()


@pytest.mark.parametrize("name", [name for kind, name, _ in blocks() if name.startswith("test_")])
def test_every_test_on_the_page_passes(files: Path, name: str) -> None:
    done = subprocess.run([sys.executable, name], cwd=files, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_code_with_which_a_call_can_fail_is_on_the_page() -> None:
    sources = [path for path in Path(contracts.__file__).parent.rglob("*.py") if "system" not in path.parts]
    written = "".join(path.read_text(encoding="utf-8") for path in sources)
    codes = set(re.findall(r'(?:Reverted|LimitExceeded|Cap)\(\s*"([A-Z_]+)"', written)) | {
        "OUT_OF_GAS",
        *SIGNER_REFUSALS,
    }
    verdicts = README.read_text(encoding="utf-8").split("## Verdicts")[1].split("\n## ")[0]
    listed = set(re.findall(r"`([A-Z_]+)`", verdicts)) - {"REJECTED_SOURCE"}
    assert codes - {"REJECTED_SOURCE"} == listed


def test_every_warning_of_check_is_on_the_page() -> None:
    sources = [
        Path(contracts.__file__).parent / name for name in ("risks.py", "language/front/lost_changes.py")
    ]
    written = "".join(path.read_text(encoding="utf-8") for path in sources)
    rules = set(re.findall(r'"([A-Z]+_[A-Z]+)"', written)) - {"LOST_CHANGE"}
    table = README.read_text(encoding="utf-8").split("| warning | ")[1].split("\n\n")[0]
    assert len(rules) >= 6
    assert rules == set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE))
