"""The example on the language's page is a contract, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "contracts" / "README.md"


def test_the_examples_of_the_language_page_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    source, usage = blocks[:2]
    exec(compile(usage, str(README), "exec"), {"SOURCE": source})  # noqa: S102 (our own page)
