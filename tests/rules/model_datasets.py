"""Registered data: versions, approvers, and a status that every use depends on."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.rules.base import distinct
from tests.rules.model_schemas import Declared, Schemas

APPROVERS_MAX, DATASETS_MAX, VERSIONS_MAX = 16, 1_000, 10_000
REGISTRATIONS_A_DAY_MAX, VERSIONS_A_DAY_MAX, CHANGES_A_DAY_MAX = 200, 1_000, 500
CONCERNED_MAX = 14
CONCERNED_JOBS_MAX = 256


@dataclass(frozen=True, slots=True)
class Version:
    """What one version says."""

    dataset: str
    version: int
    schema: bytes
    """The seal."""
    root: bytes
    size_bucket: str
    registered_at: int
    height: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """What holds whatever the version."""

    id: str
    owner: str
    approvers: tuple[str, ...]
    threshold: int
    description: str
    registered_at: int
    height: int
    status: str = "active"


class Datasets(Schemas):
    """The rules of contract `datasets`."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without data."""
        super().__init__(chain_id)
        self.datasets: dict[str, Dataset] = {}
        self.versions: dict[str, list[Version]] = {}

    # --- what `grants` knows about a dataset

    def active_grants_of(self, dataset: str) -> list[str]:
        """Return active and suspended grants, oldest first."""
        raise NotImplementedError

    def open_jobs_of(self, grant: str) -> list[str]:
        """Return a grant's open jobs, oldest first."""
        raise NotImplementedError

    # --- rules

    def datasets_register(
        self,
        id: str,
        schema: bytes,
        root: bytes,
        size_bucket: str,
        approvers: list[str],
        threshold: int,
        description: str,
    ) -> None:
        """Register a dataset and its first version."""
        org = self.role("steward")
        self.own_name(id)
        self.must(self.has(org, "owner"), "ORG_ROLE_MISSING")
        self.must(id not in self.datasets, "DATASET_EXISTS")
        own = [dataset for dataset in self.datasets.values() if dataset.owner == org]
        self.must(len(own) < DATASETS_MAX, "TOO_MANY_DATASETS")
        self.room_today("datasets", "registrations", REGISTRATIONS_A_DAY_MAX, "TOO_MANY_DATASETS_TODAY")
        declared = self._content(org, schema, root, size_bucket)
        self._approvers(approvers, threshold)
        self.text(description)
        self.go()
        self.datasets[id] = Dataset(id, org, tuple(approvers), threshold, description, self.time, self.height)
        self.versions[id] = []
        self._add(id, schema, root, size_bucket)
        self._tell_dataset(
            "DatasetRegistered",
            id,
            version=1,
            root=root,
            schema=schema,
            columns=len(declared.columns),
            size_bucket=size_bucket,
            approvers=approvers,
            threshold=threshold,
        )

    def datasets_new_version(self, id: str, schema: bytes, root: bytes, size_bucket: str) -> int:
        """Register changed data."""
        self._own_dataset(id)
        declared = self._content(self.datasets[id].owner, schema, root, size_bucket)
        self.must(len(self.versions.get(id, [])) < VERSIONS_MAX, "TOO_MANY_VERSIONS")
        self.room_today("datasets", "versions", VERSIONS_A_DAY_MAX, "TOO_MANY_VERSIONS_TODAY")
        self.go()
        self._add(id, schema, root, size_bucket)
        number = len(self.versions[id])
        self._tell_dataset(
            "DatasetVersioned",
            id,
            version=number,
            root=root,
            schema=schema,
            columns=len(declared.columns),
            size_bucket=size_bucket,
        )
        return number

    def datasets_set_approvers(self, id: str, approvers: list[str], threshold: int) -> None:
        """Say who approves, from now on."""
        self._own_dataset(id)
        self._approvers(approvers, threshold)
        self._room_to_change()
        self.go()
        self.datasets[id] = replace(self.datasets[id], approvers=tuple(approvers), threshold=threshold)
        self._tell_dataset("ApproversSet", id, approvers=approvers, threshold=threshold)

    def datasets_suspend(self, id: str, reason: str) -> None:
        """Stop every use."""
        self._own_dataset(id)
        self.must(self.datasets[id].status == "active", "WRONG_STATE")
        self.text(reason)
        self._change(id, "suspended", "DatasetSuspended", reason)

    def datasets_resume(self, id: str) -> None:
        """Allow uses again."""
        self._own_dataset(id)
        self.must(self.datasets[id].status == "suspended", "WRONG_STATE")
        self._room_to_change()
        self._change(id, "active", "DatasetResumed", None)

    def datasets_retire(self, id: str, reason: str) -> None:
        """End every use."""
        self._own_dataset(id)
        self.text(reason)
        self._change(id, "retired", "DatasetRetired", reason)

    # --- views

    def datasets_dataset_of(self, id: str) -> dict[str, Any]:
        """Answer with the record."""
        self.need(id in self.datasets, "UNKNOWN_DATASET")
        return self._dataset_row(self.datasets[id])

    def datasets_version_of(self, id: str, version: int) -> dict[str, Any]:
        """Answer with a version's record."""
        self.need(0 < version <= len(self.versions.get(id, [])), "UNKNOWN_VERSION")
        return self._version_row(self.versions[id][version - 1])

    def datasets_columns_of(self, id: str, version: int, names: list[str]) -> list[dict[str, Any]]:
        """Answer with what is declared."""
        self.need(id in self.datasets, "UNKNOWN_DATASET")
        self.need(0 < version <= len(self.versions[id]), "UNKNOWN_VERSION")
        known = {column["name"]: column for column in self.columns_of(id, version)}
        self.need(known.keys() >= set(names), "UNKNOWN_COLUMN")
        return [known[name] for name in names]

    def datasets_join_fault(self, inputs: list[list[Any]]) -> str:
        """Answer why versions cannot be joined by these columns."""
        found = []
        for dataset, version, names in inputs:
            self.need(0 < version <= len(self.versions.get(dataset, [])), "UNKNOWN_VERSION")
            schema = self._declared(self.versions[dataset][version - 1])
            if sorted(schema.key) != sorted(names):
                return "JOIN_NOT_BY_KEY"
            found.append(schema.identifier)
        return "IDENTIFIERS_DIFFER" if any(one != found[0] for one in found) else ""

    def datasets_usable(self, id: str) -> bool:
        """Answer whether it is active."""
        return id in self.datasets and self.datasets[id].status == "active"

    # --- parts

    def columns_of(self, id: str, version: int) -> list[dict[str, Any]]:
        """Return everything that a version declares."""
        return self._declared(self.versions[id][version - 1]).columns

    def _declared(self, version: Version) -> Declared:
        return self.schemas[self.datasets[version.dataset].owner, version.schema]

    def owner_of(self, dataset: str) -> str | None:
        """Return whose dataset this is."""
        return self.datasets[dataset].owner if dataset in self.datasets else None

    def _own_dataset(self, id: str) -> None:
        org = self.role("steward")
        self.need(id in self.datasets, "UNKNOWN_DATASET")
        self.must(self.datasets[id].owner == org, "NOT_OWNER")
        self.must(self.datasets[id].status != "retired", "WRONG_STATE")

    def _room_to_change(self) -> None:
        self.room_today("datasets", "changes", CHANGES_A_DAY_MAX, "TOO_MANY_CHANGES_TODAY")

    def _content(self, owner: str, schema: bytes, root: bytes, size_bucket: str) -> Declared:
        self.hash(root)
        self.text(size_bucket)
        known = self.known_schema(owner, schema)
        self.must(known.status == "sealed", "SCHEMA_NOT_SEALED")
        return known

    def _approvers(self, approvers: list[str], threshold: int) -> None:
        self.must(1 <= len(approvers) <= APPROVERS_MAX and distinct(approvers), "BAD_APPROVERS")
        self.must(all(self.is_member(org) for org in approvers), "UNKNOWN_ORG")
        self.must(1 <= threshold <= len(approvers), "BAD_THRESHOLD")

    def _add(self, id: str, schema: bytes, root: bytes, size_bucket: str) -> None:
        number = len(self.versions[id]) + 1
        self.versions[id].append(Version(id, number, schema, root, size_bucket, self.time, self.height))

    def _change(self, id: str, status: str, event: str, reason: str | None) -> None:
        self.reach("grants")
        self.go()
        self.datasets[id] = replace(self.datasets[id], status=status)
        self._tell_dataset(event, id, **({} if reason is None else {"reason": reason}))
        grants = self.active_grants_of(id)
        jobs = [job for grant in grants for job in self.open_jobs_of(grant)]
        about = f"dataset:{id}"
        self.concern(about, event, reason or "", [f"grant:{grant}" for grant in grants], 0)
        named, rest = jobs[:CONCERNED_JOBS_MAX], max(0, len(jobs) - CONCERNED_JOBS_MAX)
        self.concern(about, event, reason or "", [f"job:{job}" for job in named], rest)

    def concern(self, about: str, cause: str, reason: str, concerned: list[str], unnamed: int) -> None:
        """File a change in histories that its own event could not name."""
        for start in range(0, len(concerned), CONCERNED_MAX):
            self.tell(
                "grants.UsesConcerned",
                ["concerned"],
                about=about,
                cause=cause,
                reason=reason,
                concerned=concerned[start : start + CONCERNED_MAX],
                unnamed=unnamed,
            )

    def _tell_dataset(self, event: str, id: str, **fields: Any) -> None:
        self.tell(f"datasets.{event}", ["dataset"], dataset=f"dataset:{id}", **fields)

    def _dataset_row(self, dataset: Dataset) -> dict[str, Any]:
        newest = self.versions[dataset.id][-1]
        return {
            "id": dataset.id,
            "owner": dataset.owner,
            "version": newest.version,
            "root": newest.root,
            "size_bucket": newest.size_bucket,
            "columns": len(self._declared(newest).columns),
            "status": dataset.status,
            "approvers": list(dataset.approvers),
            "threshold": dataset.threshold,
            "description": dataset.description,
            "registered_at": dataset.registered_at,
            "height": dataset.height,
        }

    def rows_datasets(self) -> dict[tuple[str, str, Any], Any]:
        """Return {(contract, map, key): value}."""
        rows: dict[tuple[str, str, Any], Any] = {}
        counts: dict[str, int] = {}
        for dataset in self.datasets.values():
            rows["datasets", "datasets", dataset.id] = self._dataset_row(dataset)
            counts[dataset.owner] = counts.get(dataset.owner, 0) + 1
            for version in self.versions[dataset.id]:
                rows["datasets", "versions", (dataset.id, version.version)] = self._version_row(version)
        return rows | {("datasets", "counts", org): count for org, count in counts.items()}

    def _version_row(self, version: Version) -> dict[str, Any]:
        declared = self._declared(version)
        return {
            "dataset": version.dataset,
            "version": version.version,
            "schema": version.schema,
            "columns": len(declared.columns),
            "identifier": declared.identifier,
            "root": version.root,
            "size_bucket": version.size_bucket,
            "registered_at": version.registered_at,
            "height": version.height,
        }
