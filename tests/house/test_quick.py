"""The quick lane leaves out what is slow and there, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.names import REPOSITORY
from tests.quick import LIST, SLOW_S, slow_tests

SLOW = slow_tests()


def test_every_slow_test_is_there_and_was_measured_to_be_slow() -> None:
    for name, seconds in SLOW.items():
        file, _, function = name.partition("::")
        text = (REPOSITORY / file).read_text(encoding="utf-8") if (REPOSITORY / file).is_file() else ""
        assert re.search(rf"^(async )?def {function}\(", text, re.MULTILINE), (
            f"{LIST.name}: {name} is no test"
        )
        assert seconds >= SLOW_S, name


def test_the_list_is_sorted_and_names_a_test_once() -> None:
    names = [line.split(maxsplit=1)[1] for line in LIST.read_text(encoding="utf-8").splitlines()]
    assert names == sorted(set(names))


def test_nine_of_ten_unit_tests_are_quick() -> None:
    """Whoever has a minute learns of most mistakes: the list is for exceptions."""
    texts = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests/unit").rglob("test_*.py")]
    functions = sum(len(re.findall(r"^(?:async )?def test_", text, re.MULTILINE)) for text in texts)
    assert functions > 1_500
    assert len(SLOW) < functions / 10


@pytest.fixture
def three_tests(tmp_path: Path) -> Path:
    """Return a file with a slow test that is listed, a slow one that is not, and a quick one."""
    spend = "    end = time.process_time() + 1.1\n    while time.process_time() < end:\n        pass\n"
    file = tmp_path / "test_three.py"
    file.write_text(
        f"import time\ndef test_listed():\n{spend}def test_new():\n{spend}def test_quick():\n    pass\n",
        encoding="utf-8",
    )
    (tmp_path / "slow.txt").write_text("   0.6 test_three.py::test_listed\n", encoding="utf-8")
    (tmp_path / "lane.py").write_text(
        "from pathlib import Path\n"
        "from tests import quick\n"
        "quick.LIST = Path('slow.txt').resolve()\n"
        "from tests.quick import pytest_addoption, pytest_configure\n",
        encoding="utf-8",
    )
    return file


def lane(folder: Path, *options: str) -> str:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "lane",
        "-p",
        "no:cacheprovider",
        *options,
        "test_three.py",
    ]
    done = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": f"{folder}:{REPOSITORY}"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_lane_leaves_out_what_is_listed_and_names_what_should_be(three_tests: Path) -> None:
    said = lane(three_tests.parent)
    assert "2 passed, 1 deselected" in said
    assert re.findall(r"slow, and not in slow.txt: .* (\S+)$", said, re.MULTILINE) == [
        "test_three.py::test_new"
    ]


def test_measuring_runs_all_and_writes_what_was_slow(three_tests: Path) -> None:
    assert "3 passed" in lane(three_tests.parent, "--measure")
    written = (three_tests.parent / "slow.txt").read_text(encoding="utf-8").split()
    assert written[1::2] == ["test_three.py::test_listed", "test_three.py::test_new"]
