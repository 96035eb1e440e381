"""Outcomes of full searches, kept on disk: what ran on the same sources before is not run again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from tests.model.bounds import Run
from tests.model.spin import HERE, LIMITS, Outcome, version

FOLDER = HERE.parents[1] / ".campaigns"


def fingerprint(mode: str) -> str:
    """Return a digest of all that outcomes depend on: models, how they are searched, Spin itself."""
    sources = sorted(path for pattern in ("*.pml", "*.h", "*.c", "spin.py") for path in HERE.glob(pattern))
    parts = [part for path in sources for part in (path.name, path.read_text())]
    parts += [str(LIMITS[mode]), version()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Kept:
    """The outcomes of one mode on these very sources."""

    def __init__(self, mode: str, folder: Path = FOLDER) -> None:
        """Read what there is; a line that does not parse ends what is believed."""
        self._path = folder / f"model-{mode}-{fingerprint(mode)[:16]}.jsonl"
        self._known: dict[str, dict[str, object]] = {}
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        for text in lines:
            try:
                item = json.loads(text)
                self._known[item["key"]] = item["outcome"]
            except (ValueError, KeyError, TypeError):
                break  # cut while it was written

    def find(self, run: Run) -> Outcome | None:
        """Return what this run found before."""
        fields = self._known.get(_key(run))
        return None if fields is None else Outcome(**{**fields, "run": run, "trace": ()})  # type: ignore[arg-type]

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome; one that failed is searched again next time."""
        if outcome.failure:
            return
        fields = asdict(outcome)
        del fields["run"], fields["trace"]
        self._path.parent.mkdir(exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps({"key": _key(outcome.run), "outcome": fields}) + "\n")


def _key(run: Run) -> str:
    return json.dumps(asdict(run), sort_keys=True)
