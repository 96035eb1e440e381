"""Where a local consortium keeps things, and the few facts that its folders state."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from chain.primitives.errors import AssentError, Exit
from chain.primitives.files import file_remedy, read_bounded, replace_file


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
    """Write the marker that makes a folder a consortium, all or nothing (FileTrouble)."""
    replace_file(path / MARKER, _marker(orgs).encode())
    return open_consortium(path)


def _marker(orgs: list[str]) -> str:
    return json.dumps({"kind": "assent-consortium", "version": 1, "orgs": orgs}) + "\n"


def open_consortium(path: Path) -> ConsortiumFolder:
    """Read a consortium folder; raise LayoutError when it is none."""
    try:
        content = json.loads(read_bounded(path / MARKER, MARKER_BYTES_MAX))
        names = [str(name) for name in content["orgs"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LayoutError(_why_none(path, error)) from None
    return ConsortiumFolder(path, tuple(OrgFolder(path / name) for name in names))


def _why_none(path: Path, error: Exception) -> str:
    """Say why a folder cannot be opened as a consortium: it may be a whole one but for its marker."""
    marker = path / MARKER
    orgs = _org_folders(path)
    if not orgs and not marker.exists():
        return f"{path}: not a consortium folder; create one with: assent init {shlex.quote(str(path))}"
    if isinstance(error, FileNotFoundError):
        what = "missing"
    elif isinstance(error, OSError):
        return f"{marker}: cannot be read ({error.strerror}); {file_remedy(error)}"
    else:
        what = f"damaged ({type(error).__name__})"
    content = shlex.quote(_marker(orgs or ["NAME"]).strip())
    return (
        f"{marker}: {what}; nothing else was lost: it only lists the organisations of this folder. Write it "
        f"again: echo {content} > {shlex.quote(str(marker))}"
    )


def _org_folders(path: Path) -> list[str]:
    """Return the names of the folders of organisations that stand in a folder."""
    try:
        return sorted(item.name for item in path.iterdir() if OrgFolder(item).node_config.is_file())
    except OSError:
        return []
