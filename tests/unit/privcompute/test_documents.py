"""What the documents of privacy computing name exists: files, and the codes that an agent may give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import privcompute
from privcompute.programs.preflight import CODES

PACKAGE = Path(privcompute.__file__).parent
DOCUMENTS = sorted(PACKAGE.rglob("*.md"))
REFUSED = re.compile(r'JobRefusal\(\s*"([A-Z_]+)"|(?:_require|_found)\(.*?"([A-Z][A-Z_]+)"', re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(PACKAGE)) for path in DOCUMENTS])
def test_every_module_that_a_document_names_exists(document: Path) -> None:
    named = re.findall(r"`(?:privcompute/)?([\w/]+\.py)`", document.read_text(encoding="utf-8"))
    paths = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
    assert [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in paths)] == []


def test_the_layout_names_every_module_of_every_room_but_those_with_pages_of_their_own() -> None:
    layout = (PACKAGE / "README.md").read_text(encoding="utf-8").partition("## Layout")[2]
    elsewhere = {"cli", "programs"}
    missing = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if path.stem != "__init__" and path.parent.name not in elsewhere and f"`{path.name}`" not in layout
    ]
    assert missing == []


def test_every_code_of_a_refusal_is_documented() -> None:
    documents = [PACKAGE / "AGENT.md", PACKAGE.parent / "contracts/system/README.md"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in documents)
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "job").glob("*.py"))
    codes = {one or other for one, other in REFUSED.findall(sources)} | set(CODES)
    assert len(codes) > 30
    assert sorted(code for code in codes if f"`{code}`" not in text and code not in text) == []
