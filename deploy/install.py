#!/usr/bin/env python3
"""Install Assent from the bundle that this file stands in, without a network: ./install DIRECTORY.

It needs Python with the module venv and nothing else. Every file is compared with the manifest before
anything is written. Statuses are those of `assent`: 65 for a damaged bundle, 74 for a place that cannot be
written or is taken, 78 for a host that cannot run what is in the bundle.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).resolve().parent
MANIFEST = "MANIFEST.json"
DAMAGED, IO, CONFIG = 65, 74, 78
AGAIN = "fetch the bundle again, compare its SHA-256 with that of whoever made it, and unpack it anew"
CHUNK_BYTES = 1 << 20


class NotInstalled(Exception):
    """What is not installed, for the reason in the text; `status` is how the command ends."""

    def __init__(self, status: int, text: str) -> None:
        """Keep the status beside the text."""
        super().__init__(text)
        self.status = status


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Return the manifest of a bundle; raise NotInstalled for one that is missing or damaged."""
    try:
        found: dict[str, Any] = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
        kind, files = found["kind"], found["files"]
        words = [found[name] for name in ("assent", "python", "machine", "glibc")]
        loads = found["loads"]
        facts = [(entry["sha256"], entry["bytes"]) for entry in files.values()]
    except FileNotFoundError:
        raise NotInstalled(DAMAGED, f"{bundle / MANIFEST}: missing; {AGAIN}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotInstalled(
            DAMAGED, f"{bundle / MANIFEST}: damaged ({type(error).__name__}); {AGAIN}"
        ) from None
    if (
        kind != "assent-bundle"
        or not all(isinstance(word, str) for word in words)
        or not (facts and names(loads))
    ):
        raise NotInstalled(DAMAGED, f"{bundle / MANIFEST}: not the manifest of a bundle of Assent; {AGAIN}")
    if found["format"] != 1:
        raise NotInstalled(
            CONFIG, f"{bundle / MANIFEST}: format {found['format']}, and this installer reads 1"
        )
    return found


def names(loads: Any) -> bool:
    """Tell whether these are names of modules, which Python imports as they stand."""
    return isinstance(loads, list) and all(isinstance(name, str) and name.isidentifier() for name in loads)


def verify(bundle: Path, manifest: dict[str, Any]) -> None:
    """Compare every file with the manifest; raise NotInstalled naming what is missing, altered or foreign."""
    files = manifest["files"]
    found = [f"{name}: {why}" for name in sorted(files) if (why := trouble(bundle / name, files[name]))]
    present = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if not path.is_dir()}
    found += [f"{name}: not a file of this bundle" for name in sorted(present - {*files, MANIFEST})]
    if found:
        raise NotInstalled(DAMAGED, "the bundle is damaged:\n  " + "\n  ".join(found) + f"\n{AGAIN}")


def trouble(path: Path, entry: dict[str, Any]) -> str:
    """Say what is wrong with a file of the bundle; empty if nothing is."""
    if path.is_symlink() or not path.is_file():
        return "missing"
    if path.stat().st_size != entry["bytes"]:
        return f"damaged: {path.stat().st_size} bytes, and the manifest says {entry['bytes']}"
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
    return "" if digest.hexdigest() == entry["sha256"] else "damaged: its SHA-256 is not that of the manifest"


def check_host(manifest: dict[str, Any]) -> None:
    """Raise NotInstalled unless this Python and platform can run what is in the bundle."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.implementation.name != "cpython" or python != manifest["python"]:
        raise NotInstalled(
            CONFIG,
            f"the bundle is for CPython {manifest['python']}, and this is {sys.implementation.name} {python} "
            f"({sys.executable}): run it with another, python{manifest['python']} install "
            "DIRECTORY, or take the bundle for this one",
        )
    if platform.machine() != manifest["machine"] or sys.platform != "linux":
        raise NotInstalled(
            CONFIG,
            f"the bundle is for Linux on {manifest['machine']}, and this is {sys.platform} on "
            f"{platform.machine()}: take the bundle for this machine",
        )
    library, version = platform.libc_ver()
    wanted = manifest["glibc"]
    if wanted and (library != "glibc" or numbers(version) < numbers(wanted)):
        raise NotInstalled(
            CONFIG,
            f"the bundle needs glibc {wanted} or newer, and this host has {library or 'another C library'} "
            f"{version}: install on a newer release of the system",
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise NotInstalled(
            CONFIG,
            f"{sys.executable} has no module venv that works: install it (Debian, Ubuntu: the package "
            f"python{python}-venv), or name another Python",
        ) from None


def numbers(version: str) -> tuple[int, ...]:
    """Return a version of numbers as one that can be compared."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def check_places(folder: Path, command: Path | None) -> None:
    """Raise NotInstalled where what would be written is there already."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise NotInstalled(
            IO,
            f"{folder}: already there, and not empty; name a new folder. To upgrade, install beside the old "
            "one, stop what runs, and let --command lead to the new one",
        )
    if command is not None and command.exists() and not command.is_symlink():
        raise NotInstalled(
            IO, f"{command}: already there, and no link of an earlier installation; move it away"
        )


def install(bundle: Path, manifest: dict[str, Any], folder: Path) -> None:
    """Make the environment and the command in a folder, all or nothing; raise NotInstalled."""
    old = os.umask(0o022)  # services run as another user than whoever installs
    made = not folder.exists()
    try:
        if (bundle / "share").is_dir():
            shutil.copytree(bundle / "share", folder, dirs_exist_ok=True)
            for path in (folder, *folder.rglob("*")):  # whoever unpacked the bundle had a umask, too
                path.chmod(0o755 if path.is_dir() else 0o644)
        run([sys.executable, "-I", "-m", "venv", str(folder / ".venv")], "the environment")
        python = folder / ".venv" / "bin" / "python"
        words = ["--no-index", "--no-deps", "--no-cache-dir", "--require-hashes", "--only-binary", ":all:"]
        words += ["--find-links", str(bundle / "wheels"), "--requirement", str(bundle / "requirements.txt")]
        run(
            [str(python), "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *words],
            "pip",
        )
        run([str(python), "-I", "-m", "pip", "--disable-pip-version-check", "check"], "pip check")
        for name in manifest["loads"]:
            words = [str(python), "-I", "-c", f"import {name}"]
            run(words, f"loading {name} (a library may be missing)", CONFIG)
        said = run([str(folder / ".venv" / "bin" / "assent"), "--version"], "assent --version")
        if manifest["assent"] not in said.split():
            raise NotInstalled(
                DAMAGED, f"assent --version says {said.strip()!r}, and not {manifest['assent']}"
            )
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not made:
            folder.mkdir()
        if isinstance(error, OSError):
            raise NotInstalled(IO, f"{folder}: nothing was installed ({error.strerror})") from None
        raise
    finally:
        os.umask(old)


def run(line: list[str], what: str, status: int = IO) -> str:
    """Run one step, where no setting of a user or of pip has a say; return what it prints (NotInstalled)."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
    }
    done = subprocess.run(
        line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotInstalled(
            status, f"{what} failed, and nothing was installed:\n{done.stdout}{done.stderr}".rstrip()
        )
    return done.stdout


def link(command: Path, folder: Path) -> None:
    """Let a command lead to the installation, in one step; raise NotInstalled."""
    draft = command.with_name(f".{command.name}.{os.getpid()}")
    try:
        command.parent.mkdir(parents=True, exist_ok=True)
        draft.symlink_to(folder / ".venv" / "bin" / "assent")
        draft.replace(command)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise NotInstalled(IO, f"{command}: not made ({error.strerror}); {folder} is installed") from None


def main() -> int:
    """Install, or only compare the bundle with its manifest; return the status."""
    parser = argparse.ArgumentParser(description="Install Assent from this bundle, without a network.")
    parser.add_argument(
        "directory", type=Path, nargs="?", help="a folder that is not there yet, /opt/assent say"
    )
    parser.add_argument("--command", type=Path, help="a link to the command: /usr/local/bin/assent, say")
    parser.add_argument(
        "--check", action="store_true", help="compare the bundle with its manifest, and no more"
    )
    given = parser.parse_args()
    if given.directory is None and not given.check:
        parser.error("name the directory in which to install, or give --check")
    try:
        manifest = read_manifest(BUNDLE)
        verify(BUNDLE, manifest)
        if given.check:
            print(f"assent {manifest['assent']}: {len(manifest['files'])} files, all as the manifest says")
            return 0
        folder = Path(os.path.abspath(given.directory))
        command = None if given.command is None else Path(os.path.abspath(given.command))
        check_host(manifest)
        check_places(folder, command)
        install(BUNDLE, manifest, folder)
        if command is not None:
            link(command, folder)
    except NotInstalled as refused:
        print(f"install: {refused}", file=sys.stderr)
        return refused.status
    print(f"assent {manifest['assent']} is installed: {command or folder / '.venv' / 'bin' / 'assent'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
