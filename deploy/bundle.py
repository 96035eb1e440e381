"""`scripts/bundle`: everything that installs Assent on a host without a network, in one file.

The bundle is a tar archive: `install`, which needs nothing but Python; wheels of what the lock says, for this
Python and platform, and of Assent itself; documents and units; and a manifest with the hash of each. The same
sources, lock, Python and platform make the same bytes.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import click
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from chain.client.console import speaking
from deploy.lock import LockError, Pin, canonical, needed, read_lock
from deploy.making import REPOSITORY, NotMade, command, step, tell
from deploy.packing import digest, pack

INSTALLER = Path(__file__).with_name("install.py")
SHARED = ("LICENSE", "CHANGELOG.md", "node.toml", "docs", "examples/systemd")
"""What a host has beside the code: documents and the units that they speak of."""
OLDER_GLIBC = {"manylinux1": "2_5", "manylinux2010": "2_12", "manylinux2014": "2_17"}
MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_")


def python_tag() -> str:
    """Return the Python for which wheels are taken, as their names have it: cp311."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}"


def installed_requirements(name: str) -> list[str]:
    """Return what an installed package requires; raise LockError if it is not installed."""
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        raise LockError(f"{name} is not installed, and the lock has it; run scripts/setup") from None


def runtime_pins() -> list[Pin]:
    """Return what runs Assent on this Python and platform, of the lock; raise LockError."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = read_lock((REPOSITORY / "requirements.lock").read_text(encoding="utf-8"))
    found = needed(project["dependencies"], pins, installed_requirements)
    for pin in found:
        if metadata.version(pin.name) != pin.version:
            raise LockError(
                f"{pin.name} {metadata.version(pin.name)} is installed, and the lock has {pin.version}; run "
                "scripts/setup"
            )
    return found


def root_modules() -> list[str]:
    """Return the modules of what Assent depends on directly, which a host must be able to load."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    roots = {canonical(Requirement(text).name) for text in project["dependencies"]}
    owners = metadata.packages_distributions()
    return sorted(
        module
        for module, names in owners.items()
        if module.isidentifier()
        and not module.startswith("_")
        and roots & {canonical(name) for name in names}
    )


def fetch(pins: Iterable[Pin], target: Path, wheels: Path | None) -> None:
    """Bring the wheels of pins into a folder, from `wheels` or else the registry; raise NotMade."""
    wanted = target / "wanted.txt"
    wanted.write_text("".join(f"{pin.line()}\n" for pin in pins), encoding="utf-8")
    origin = [] if wheels is None else ["--no-index", "--find-links", str(wheels)]
    words = ["--no-deps", "--require-hashes", "--only-binary", ":all:", *origin]
    _pip("download", *words, "--dest", str(target), "--requirement", str(wanted))
    wanted.unlink()


def own_wheel(target: Path) -> None:
    """Build the wheel of Assent from a clean copy of its sources into a folder; raise NotMade."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
        packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
        _copy(["pyproject.toml", "README.md", "LICENSE", *(name.rstrip("*") for name in packages)], copy)
        words = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(target), str(copy)]
        _pip("wheel", *words)


def _pip(*words: str) -> None:
    line = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    if said := step(line, PYTHONHASHSEED="0"):
        raise NotMade(
            f"pip {words[0]} failed on {platform.platform()}, {python_tag()}:\n{said}\nA "
            "bundle needs a wheel of every package: use Python 3.11 or 3.12, and a registry or --wheels"
        )


def _copy(names: Iterable[str], target: Path) -> None:
    """Copy files and folders of the repository, with modes that no umask has touched, and no caches."""
    for name in names:
        origin, copy = REPOSITORY / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
        else:
            shutil.copy(origin, copy)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def glibc_of(names: Iterable[str]) -> str:
    """Return the oldest glibc on which all wheels of these names run, "2.28"; empty for none."""
    found = []
    for name in names:
        tags = [tag.platform for tag in parse_wheel_filename(name)[3]]
        for old, new in OLDER_GLIBC.items():
            tags = [tag.replace(f"{old}_", f"manylinux_{new}_") for tag in tags]
        versions = [(int(one), int(two)) for tag in tags for one, two in MANYLINUX.findall(tag)]
        found += [min(versions)] if versions else []
    return "{}.{}".format(*max(found)) if found else ""


def compose(folder: Path, loads: Iterable[str] = ()) -> None:
    """Complete a folder that has `wheels`, and `share` if there is any: installer, requirements, manifest.

    `loads` are the modules that must load on a host, or it lacks a library of its system.
    """
    wheels = {path.name: digest(path) for path in sorted((folder / "wheels").iterdir())}
    shutil.copy(INSTALLER, folder / "install")
    (folder / "install").chmod(0o755)
    versions = {canonical(parse_wheel_filename(name)[0]): parse_wheel_filename(name)[1] for name in wheels}
    lines = [
        Pin(
            canonical(parse_wheel_filename(name)[0]), str(parse_wheel_filename(name)[1]), (f"sha256:{found}",)
        )
        for name, found in wheels.items()
    ]
    text = "".join(f"{pin.line()}\n" for pin in lines)
    (folder / "requirements.txt").write_text(text, encoding="utf-8")
    files = {
        path.relative_to(folder).as_posix(): {"sha256": digest(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {
        "kind": "assent-bundle",
        "format": 1,
        "assent": str(versions["assent"]),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "machine": platform.machine(),
        "glibc": glibc_of(wheels),
        "loads": list(loads),
        "files": files,
    }
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def make_bundle(target: Path, wheels: Path | None = None) -> Path:
    """Make the bundle for this Python and platform in a folder; return its path (NotMade, LockError)."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "wheels").mkdir()
        fetch(runtime_pins(), folder / "wheels", wheels)
        own_wheel(folder / "wheels")
        _copy(SHARED, folder / "share")
        compose(folder, root_modules())
        version = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["assent"]
        top = f"assent-{version}-{python_tag()}-{platform.machine()}"
        target.mkdir(parents=True, exist_ok=True)
        draft = target / f".{top}.partial"
        try:
            with draft.open("wb") as archive:
                pack(folder, archive, top)
            return draft.rename(target / f"{top}.tar")
        finally:
            draft.unlink(missing_ok=True)


@command("bundle")
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Take the wheels from this folder, and ask no registry.",
)
def main(output: Path, wheels: Path | None) -> None:
    """Make one file that installs Assent on a host without a network: docs/operating.md."""
    tell(make_bundle(output, wheels))


if __name__ == "__main__":
    with speaking():
        main()
