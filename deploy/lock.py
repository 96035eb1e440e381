"""What of the lock runs Assent: the packages that it needs on this Python and platform, with their hashes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.requirements import Requirement

from chain.primitives.errors import AssentError, Exit

HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


class LockError(AssentError):
    """A lock, or an environment beside it, from which no bundle can be made: the text names the package."""

    code = "lock"
    exit = Exit.CONFIG


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of the lock that holds for this Python: package, version and the hashes of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]

    def line(self, hashes: Iterable[str] = ()) -> str:
        """Return it as a line of a file of requirements, with all hashes or those given."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={one}" for one in hashes or self.hashes)])


def canonical(name: str) -> str:
    """Return a package's name as the lock writes it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> dict[str, Pin]:
    """Return name -> pin of the lines whose markers hold here; raise LockError for one that pins nothing."""
    found: dict[str, Pin] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        words = entry.split("--hash=")[0].strip()
        if not words or words.startswith("#"):
            continue
        name, separator, rest = words.partition("==")
        version, _, marker = rest.partition(";")
        hashes = tuple(HASH.findall(entry))
        if not separator or not hashes:
            raise LockError(
                f"requirements.lock: {words!r} states no version or no hash; write the lock again"
            )
        if not marker.strip() or Marker(marker).evaluate():
            found[canonical(name)] = Pin(canonical(name), version.strip(), hashes)
    return found


def needed(
    roots: Iterable[str], pins: Mapping[str, Pin], requires: Callable[[str], Iterable[str]]
) -> list[Pin]:
    """Return the pins that `roots` need, directly or through others, by name.

    `roots` and what `requires` returns of a package are requirements (PEP 508). Raises LockError for a
    package that the lock does not hold, or holds at a version that is not allowed.
    """
    found: dict[str, Pin] = {}
    waiting = [("pyproject.toml", root, {""}) for root in roots]
    seen: set[tuple[str, str]] = set()
    while waiting:
        whose, text, extras = waiting.pop()
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        name = canonical(requirement.name)
        pin = pins.get(name)
        if pin is None or not requirement.specifier.contains(pin.version, prereleases=True):
            held = "nothing of it" if pin is None else f"version {pin.version}"
            raise LockError(
                f"requirements.lock: {whose} needs {requirement.name} {requirement.specifier}, and the lock "
                f"has {held}; write the lock again (CONTRIBUTING.md)"
            )
        found[name] = pin
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(name, line, {extra}) for line in requires(name)]
    return [found[name] for name in sorted(found)]
