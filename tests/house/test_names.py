"""One word for one idea: class names stand once, imports rename none, the glossary names what there is."""

from __future__ import annotations

import re

import pytest

from tests.house.names import (
    PACKAGES,
    REPOSITORY,
    SAME_THING,
    public_classes,
    renaming_imports,
)

PAGE = (REPOSITORY / "docs/glossary.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^\| ([^|`]+) \| ([^|]+) \| `([\w/]+)` `(\w+)` \|$", PAGE, re.MULTILINE)
CLASSES = public_classes()


def test_no_public_class_name_stands_twice_unless_it_is_one_thing() -> None:
    twice = [
        f"{name}: {', '.join(places)}"
        for name, places in CLASSES.items()
        if len(places) > 1 and name not in SAME_THING
    ]
    assert twice == [], "give one of them a name of its own"
    assert [name for name in SAME_THING if len(CLASSES.get(name, ())) < 2] == []


def test_no_import_gives_a_class_another_name() -> None:
    assert renaming_imports() == set()


def test_every_row_of_the_glossary_is_read_and_no_term_stands_twice() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| term ")]
    assert len(TERMS) == len(rows) > 60
    terms = [term for term, *_ in TERMS]
    assert sorted(set(terms)) == sorted(terms)


@pytest.mark.parametrize(
    ("term", "folder", "name"), [(t, f, n) for t, _, f, n in TERMS], ids=[t[0] for t in TERMS]
)
def test_what_a_term_names_is_in_its_folder(term: str, folder: str, name: str) -> None:
    assert folder.partition("/")[0] in PACKAGES
    defined = re.compile(rf"^\s*(?:class |def |async def )?{name}\b(?:\(|:| =|$)", re.MULTILINE)
    paths = sorted((REPOSITORY / folder).rglob("*.py"))
    assert any(path.stem == name or defined.search(path.read_text(encoding="utf-8")) for path in paths), (
        f"{term}: {folder} has no {name}"
    )
