"""Where a consortium, or one organisation of it, keeps things, and the few facts that folders state."""

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
    def start_command(self) -> str:
        """The words that start its processes: by the consortium's folder where it stands in one."""
        if (self.path.parent / MARKER).exists():
            return f"assent start {shlex.quote(str(self.path.parent))} --org {self.name}"
        return f"assent start {shlex.quote(str(self.path))}"

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

    @property
    def founding_card(self) -> Path:
        """The card with which the organisation founds a chain; absent when it came to one otherwise."""
        return self.path / f"{self.name}.card.json"

    def key(self, role: str) -> Path:
        """The key file of a role: node, admin or agent."""
        return self.path / "keys" / f"{role}.key"

    def log(self, process: str) -> Path:
        """The log of a process: node or agent."""
        return self.path / f"{process}.log"

    def run(self, process: str) -> Path:
        """The record of the last run of a process: node or agent."""
        return self.path / f"{process}.run"

    def pid(self, process: str) -> Path:
        """The process-id file of a process: node or agent."""
        return self.path / f"{process}.pid"


@dataclass(frozen=True, slots=True)
class ConsortiumFolder:
    """A folder made by `assent init`, or that of one organisation alone (`assent org new`, `assent init`)."""

    path: Path
    orgs: tuple[OrgFolder, ...]

    @property
    def genesis(self) -> Path:
        """The genesis file, the same for every member."""
        return self.path / "genesis.json"

    @property
    def elsewhere(self) -> list[str]:
        """The organisations whose folders are not on this host."""
        return [org.name for org in self.orgs if not org.path.is_dir()]

    @property
    def whole(self) -> bool:
        """Tell whether all organisations of the consortium are on this host."""
        return (self.path / MARKER).exists() and not self.elsewhere

    def here(self, only: str | None = None) -> ConsortiumFolder:
        """Return the folder with those organisations alone that are on this host, or with the one named.

        Raises LayoutError for one that is not here.
        """
        away = self.elsewhere
        found = tuple(org for org in self.orgs if org.name not in away)
        if only is not None:
            org = self.org(only)
            if only in away:
                raise LayoutError(
                    f"{org.path}: not on this host; on it are {[item.name for item in found]}. Put the "
                    f"folder of {only} there, or ask on its own host"
                )
            found = (org,)
        if not found:
            raise LayoutError(
                f"{self.path}: none of its organisations, {', '.join(away)}, has its folder here; put the "
                f"folder of one into {self.path}"
            )
        return ConsortiumFolder(self.path, found)

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
    """Read the folder of a consortium or of one organisation; raise LayoutError when it is neither."""
    if not (path / MARKER).exists() and OrgFolder(path).node_config.is_file():
        return ConsortiumFolder(path, (OrgFolder(path if path.name not in ("", "..") else path.resolve()),))
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
    named = OrgFolder(path if path.name not in ("", "..") else path.resolve())
    if named.founding_card.exists():
        return (
            f"{path}: its founding is not complete; once all founders signed: assent found install DRAFT "
            f"SIGNATURE SIGNATURE … --as {shlex.quote(str(path))}"
        )
    if not orgs and not marker.exists():
        return (
            f"{path}: neither the folder of a consortium nor that of an organisation; create one "
            f"with: assent init {shlex.quote(str(path))}"
        )
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
