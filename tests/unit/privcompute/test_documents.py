"""What the documents of privacy computing name exists: every file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import privcompute

PACKAGE = Path(privcompute.__file__).parent
DOCUMENTS = sorted(PACKAGE.rglob("*.md"))


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
