"""Behaviours of Assent drawn by chance, for the question "in which file is it?": python -m tests.house.draw.

They are drawn from what users meet: settings, error codes, RPC methods and events. docs/where-is.md holds the
thirty that seed 16 drew before the packages were divided into rooms. A draw from later code differs, because
there is more to draw from.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import random
import re
from collections.abc import Iterator
from typing import get_args
from unittest.mock import Mock

from chain.api.methods.table import method_table
from chain.config import NodeConfig
from chain.primitives.errors import AssentError
from chain.primitives.settings import Section
from contracts.system import sources
from privcompute.config import AgentConfig

PACKAGES = ("chain", "consensus", "contracts", "privcompute")
COUNT, SEED = 30, 16


def settings(section: type[Section], path: str) -> Iterator[str]:
    """Yield every setting of a section and of the sections in it."""
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
        if inner is None:
            yield f"setting {path}{name}"
        else:
            yield from settings(inner, f"{path}{name}.")


def error_codes() -> Iterator[str]:
    """Yield the code of every error that any module defines."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.startswith("contracts.system."):  # these are in the contract language
                importlib.import_module(module.name)
    waiting: list[type[AssentError]] = [AssentError]
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if error.__module__.partition(".")[0] in PACKAGES:
            yield f"error {error.code}"


def behaviours() -> list[str]:
    """Return everything that may be drawn, sorted: a seed must not mean another draw at each run."""
    named = {*settings(NodeConfig, "node.toml "), *settings(AgentConfig, "agent.toml "), *error_codes()}
    named |= {f"method {name}" for name in method_table(Mock())}
    for text in sources().values():
        named |= {f"event {name}" for name in re.findall(r"^(\w+) = Event\(", text, re.MULTILINE)}
    return sorted(named)


def draw(seed: int = SEED, count: int = COUNT) -> list[str]:
    """Return `count` behaviours, each as likely as any other."""
    return sorted(random.Random(seed).sample(behaviours(), count))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, default=COUNT)
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.count} of {len(behaviours())}:")
    print(*draw(given.seed, given.count), sep="\n")
