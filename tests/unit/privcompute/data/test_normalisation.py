"""Normalisation has golden vectors: two owners that declare the same steps make the same identifier."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.data.normalisation import MEANINGS, normalise, step_of

GOLDEN = [
    ("trim", " \u00a0A1\u200b\t", "A1"),
    ("trim", "A 1", "A 1"),
    ("trim", "\u3000 ", None),
    ("spaces", " A\u00a01\u200b2 ", "A12"),
    ("nfc", "e\u0301", "\u00e9"),
    ("nfc", "\u212b", "\u00c5"),
    ("nfkc", "\uff11\uff12\ufb01", "12fi"),
    ("casefold", "STRASSE", "strasse"),
    ("casefold", "Straße", "strasse"),
    ("casefold", "E\u0301COLE", "école"),
    ("casefold", "ΣΑΣ", "σασ"),
    ("digits", "DE-12 34/5", "12345"),
    ("digits", "\u0661\u0662x", "12"),
    ("digits", "none", None),
    ("alphanumeric", "AB-12 3", "AB123"),
    ("leading-zeros", "0012", "12"),
    ("leading-zeros", "000", "0"),
    ("phone:49", "030 123-4567", "+49301234567"),
    ("phone:49", "+49 (0)30 1234567", "+49301234567"),
    ("phone:49", "0049301234567", "+49301234567"),
    ("phone:1", "(415) 555-0132", "+14155550132"),
    ("phone:49", "+\uff14\uff19301234567", "+49301234567"),
    ("phone:49", "110", None),
    ("phone:49", "+1234567890123456", None),
    ("date:dmy", "3.1.1970", "1970-01-03"),
    ("date:mdy", "01/31/2024", "2024-01-31"),
    ("date:ymd", "2024/1/31", "2024-01-31"),
    ("date:dmy", "31.02.2024", None),
    ("date:dmy", "1.2.24", None),
]


@pytest.mark.parametrize(("name", "text", "expected"), GOLDEN)
def test_a_step_makes_the_text_of_its_golden_vector(name: str, text: str, expected: str | None) -> None:
    step = step_of(name)
    assert step is not None
    assert normalise(text, [step]) == expected


def test_steps_are_taken_in_order() -> None:
    steps = [step for name in ("trim", "casefold", "digits") if (step := step_of(name))]
    assert normalise(" DE-0012 ", steps) == "0012"
    assert normalise(" DE- ", steps) is None


def test_every_step_has_a_meaning_and_a_vector_and_no_other_is_known() -> None:
    names = {name.replace("phone:49", "phone:CC").replace("phone:1", "phone:CC") for name, _, _ in GOLDEN}
    assert names == set(MEANINGS)
    assert [
        step_of(name) for name in ("Trim", "", "phone", "phone:", "phone:0", "date:xyz", "phone:1234")
    ] == [None] * 7


def test_a_character_that_this_python_does_not_know_is_refused_whatever_the_steps() -> None:
    unknown = next(chr(code) for code in range(0x2FE0, 0x3000) if unicodedata.category(chr(code)) == "Cn")
    assert normalise(f"A{unknown}", []) is None


@settings(deadline=None)
@given(st.text(max_size=20), st.sampled_from(sorted(set(MEANINGS) - {"phone:CC"})))
def test_a_step_is_its_own_fixed_point_except_a_date(text: str, name: str) -> None:
    step = step_of(name)
    assert step is not None
    once = normalise(text, [step])
    if once is not None and not name.startswith("date:"):
        assert normalise(once, [step]) == once
