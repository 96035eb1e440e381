"""Where a local consortium keeps things, and the few facts that its folders state."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from chain.primitives.errors import AssentError, Exit
from chain.primitives.files import read_bounded


class LayoutError(AssentError):
    """A consortium folder that is missing, incomplete or in the way: the text names path and remedy."""

    code = "layout"
    exit = Exit.CONFIG


@dataclass(frozen=True, slots=True)
class OrgFolder:
    """One organisation's folder: keys, node and, if it computes, an agent."""

    path: Path

    @property
    def name(self) -> str:
        """The organisation's id."""
        return self.path.name

    @property
    def node_config(self) -> Path:
        """The node's configuration."""
        return self.path / "node.toml"

    @property
    def agent_config(self) -> Path:
        """The agent's configuration; absent when the organisation runs none."""
        return self.path / "agent.toml"

    def key(self, role: str) -> Path:
        """The key file of a role: node, admin or agent."""
        return self.path / "keys" / f"{role}.key"

    def log(self, process: str) -> Path:
        """The log of a process: node or agent."""
        return self.path / f"{process}.log"

    def pid(self, process: str) -> Path:
        """The process-id file of a process: node or agent."""
        return self.path / f"{process}.pid"


@dataclass(frozen=True, slots=True)
class ConsortiumFolder:
    """A folder made by `assent init`."""

    path: Path
    orgs: tuple[OrgFolder, ...]

    @property
    def genesis(self) -> Path:
        """The genesis file, the same for every member."""
        return self.path / "genesis.json"

    def org(self, name: str) -> OrgFolder:
        """Return one organisation's folder; raise LayoutError listing those there are."""
        for folder in self.orgs:
            if folder.name == name:
                return folder
        raise LayoutError(
            f"{self.path}: no organisation {name!r}; there are {[org.name for org in self.orgs]}"
        )


MARKER = "consortium.json"
MARKER_BYTES_MAX = 1_048_576


def write_consortium(path: Path, orgs: list[str]) -> ConsortiumFolder:
    """Write the marker that makes a folder a consortium."""
    (path / MARKER).write_text(json.dumps({"kind": "assent-consortium", "version": 1, "orgs": orgs}) + "\n")
    return open_consortium(path)


def open_consortium(path: Path) -> ConsortiumFolder:
    """Read a consortium folder; raise LayoutError when it is none."""
    try:
        content = json.loads(read_bounded(path / MARKER, MARKER_BYTES_MAX))
        names = [str(name) for name in content["orgs"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise LayoutError(
            f"{path}: not a consortium folder; create one with: assent init {shlex.quote(str(path))}"
        ) from None
    return ConsortiumFolder(path, tuple(OrgFolder(path / name) for name in names))
