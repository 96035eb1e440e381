"""A node asks for short turns of a processor, for itself and its threads, where the kernel takes wishes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from chain.cli import node as commands
from chain.node import slices
from chain.node.slices import SLICE_NS, ask_for_short_turns, turn_ns


def in_a_thread(work: Callable[[], object]) -> object:
    """What is asked for holds for the thread that asks, and ends with it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def takes_wishes() -> bool:
    """Tell whether this kernel keeps the length of a turn that one asks for (Linux 6.12 and later)."""
    return in_a_thread(lambda: ask_for_short_turns() and turn_ns() == SLICE_NS) is True


LONGER_NS = 5_000_000
TAKES_WISHES = pytest.mark.skipif(not takes_wishes(), reason="this kernel takes no wishes")


@TAKES_WISHES
def test_turns_of_this_thread_and_of_those_it_begins_are_short_and_no_others() -> None:
    def asks() -> tuple[bool, int, object]:
        return ask_for_short_turns(), turn_ns(), in_a_thread(turn_ns)

    def begins_a_thread_that_asks() -> tuple[int, object, int]:
        with pytest.MonkeyPatch.context() as patch:  # whatever turns the thread of the tests has
            patch.setattr(slices, "SLICE_NS", LONGER_NS)
            ask_for_short_turns()
        return turn_ns(), in_a_thread(asks), turn_ns()

    assert in_a_thread(begins_a_thread_that_asks) == (LONGER_NS, (True, SLICE_NS, SLICE_NS), LONGER_NS)


@pytest.mark.skipif(sys.platform != "linux", reason="what is asked for is Linux'")
def test_nothing_else_about_the_thread_changes() -> None:
    def standing() -> tuple[int, int]:
        return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)

    def asks() -> bool:
        before = standing()
        ask_for_short_turns()
        return standing() == before

    assert in_a_thread(asks) is True


@pytest.mark.skipif(sys.platform != "linux", reason="what is asked for is Linux'")
def test_another_policy_is_left_as_it_is() -> None:
    def asks() -> tuple[bool, int]:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return ask_for_short_turns(), os.sched_getscheduler(0)

    assert in_a_thread(asks) == (False, os.SCHED_IDLE)


def test_on_a_machine_whose_calls_are_not_known_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices.platform, "machine", lambda: "vax")
    assert not ask_for_short_turns()
    assert turn_ns() == 0


def test_a_node_asks_before_anything_of_it_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    began: list[str] = []
    monkeypatch.setattr(commands, "load_node_config", lambda _: (MagicMock(solo=None), MagicMock()))
    for name in (
        "set_up_logging",
        "load_genesis",
        "KeyRing",
        "ask_no_more",
    ):
        monkeypatch.setattr(commands, name, MagicMock())
    monkeypatch.setattr(commands, "memory_warning", lambda *_: "")
    monkeypatch.setattr(commands, "ask_for_short_turns", lambda: began.append("asked"))
    monkeypatch.setattr(commands, "Node", lambda *_, **__: began.append("made") or MagicMock())
    monkeypatch.setattr(commands.uvloop, "run", lambda _: bool(began.append("ran")))
    assert commands.run_node.callback is not None
    commands.run_node.callback(path=tmp_path / "node.toml")
    assert began == ["asked", "made", "ran"]
