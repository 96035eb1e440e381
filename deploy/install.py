#!/usr/bin/env python3
"""Install Assent from the bundle that this file stands in, without a network: ./install DIRECTORY.

It needs Python with the module venv and nothing else. Every file is compared with the manifest before
anything is written, and before anything of the bundle but this file can run. Statuses are those of `assent`:
65 for a damaged bundle, 74 for a place that cannot be written or is taken, 78 for a host that cannot run what
is in the bundle; a signal ends it as a shell says, 143 for SIGTERM.
"""

import sys

if __name__ == "__main__" and not sys.flags.isolated:
    import posix  # built in, so that no file beside this one, nor in PYTHONPATH, can stand for it

    posix.execv(sys.executable, [sys.executable, "-I", __file__, *sys.argv[1:]])

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

BUNDLE = Path(__file__).resolve().parent
MANIFEST, REQUIREMENTS, SHARE = "MANIFEST.json", "requirements.txt", "share"
DAMAGED, IO, CONFIG, SIGNALLED = 65, 74, 78, 128
AGAIN = "fetch the bundle again, compare its SHA-256 with that of whoever made it, and unpack it anew"
CHUNK_BYTES = 1 << 20
MANIFEST_BYTES_MAX = 4 << 20
FILES_MAX, LOADS_MAX, NAME_CHARS_MAX, TOLD_MAX = 10_000, 1_000, 200, 20
"""Files and modules that a manifest names, characters of a name, and damaged files that are told by name."""
WORDS = {
    "assent": r"[0-9][0-9A-Za-z.+!_-]{0,63}",
    "python": r"[0-9]{1,3}\.[0-9]{1,3}",
    "machine": r"[0-9A-Za-z_]{1,32}",
    "glibc": r"([0-9]{1,3}\.[0-9]{1,3})?",
}
"""What a manifest says of its host, and how each word is written."""
NAME = re.compile(r"[0-9A-Za-z_+@-][0-9A-Za-z_.+@-]*(/[0-9A-Za-z_+@-][0-9A-Za-z_.+@-]*)*")
"""A file of a bundle: no part begins with a dot, so none leads out of it."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NotInstalled(Exception):
    """What is not installed, for the reason in the text; `status` is how the command ends."""

    def __init__(self, status: int, text: str) -> None:
        """Keep the status beside the text."""
        super().__init__(text)
        self.status = status


def read_manifest(bundle: Path) -> "dict[str, Any]":
    """Return the manifest of a bundle; raise NotInstalled for one that is missing or damaged."""
    path = bundle / MANIFEST
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise NotInstalled(DAMAGED, f"{path}: no file of its own; {AGAIN}")
        with path.open("rb") as source:
            return parse_manifest(source.read(MANIFEST_BYTES_MAX + 1))
    except FileNotFoundError:
        raise NotInstalled(DAMAGED, f"{path}: missing; {AGAIN}") from None
    except OSError as error:
        raise NotInstalled(DAMAGED, f"{path}: cannot be read ({error.strerror}); {AGAIN}") from None
    except ValueError as error:
        raise NotInstalled(DAMAGED, f"{path}: {error}; {AGAIN}") from None


def parse_manifest(content: bytes) -> "dict[str, Any]":
    """Return the manifest that these bytes are; raise ValueError, with what is wrong on one line."""
    if len(content) > MANIFEST_BYTES_MAX:
        raise ValueError(f"damaged (more than {MANIFEST_BYTES_MAX} bytes)")
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"damaged ({type(error).__name__})") from None
    if not isinstance(found, dict) or found.get("kind") != "assent-bundle":
        raise ValueError("not the manifest of a bundle of Assent")
    if found.get("format") != 1 or isinstance(found["format"], bool):
        raise ValueError("damaged (its format is not 1, which this installer reads)")
    for name, pattern in WORDS.items():
        if not written(found.get(name), pattern):
            raise ValueError(f"damaged ({name})")
    loads, files = found.get("loads"), found.get("files")
    if not isinstance(loads, list) or len(loads) > LOADS_MAX or not all(map(is_module, loads)):
        raise ValueError("damaged (loads)")
    if not isinstance(files, dict) or len(files) > FILES_MAX or REQUIREMENTS not in files:
        raise ValueError("damaged (files)")
    if not all(is_file_name(name) and is_entry(entry) for name, entry in files.items()):
        raise ValueError("damaged (a name, a size or a hash in its files)")
    return found


def written(word: Any, pattern: str) -> bool:
    """Tell whether this is text that is written so, from its beginning to its end."""
    return isinstance(word, str) and re.fullmatch(pattern, word) is not None


def is_module(name: Any) -> bool:
    """Tell whether this is the name of a module, which Python imports as it stands."""
    return isinstance(name, str) and len(name) <= NAME_CHARS_MAX and name.isascii() and name.isidentifier()


def is_file_name(name: str) -> bool:
    """Tell whether a bundle may have a file of this name, which is relative to it."""
    return len(name) <= NAME_CHARS_MAX and name != MANIFEST and NAME.fullmatch(name) is not None


def is_entry(entry: Any) -> bool:
    """Tell whether this is what a manifest says of a file: its hash, in hex digits, and its size in bytes."""
    return (
        isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and written(entry.get("sha256"), "[0-9a-f]{64}")
    )


def verify(bundle: Path, manifest: "dict[str, Any]") -> None:
    """Compare every file with the manifest; raise NotInstalled naming what is missing, altered or foreign."""
    files = manifest["files"]
    folders = {str(parent) for name in files for parent in Path(name).parents}
    present, foreign = contents(bundle, folders)
    found = [
        f"{name}: {why}"
        for name in sorted(files)
        if (why := trouble(bundle / name, files[name]) if name in present else "missing")
    ]
    found += [
        f"{name}: not a file of this bundle" for name in sorted({*foreign, *present} - {*files, MANIFEST})
    ]
    if found:
        more = [f"and {len(found) - TOLD_MAX} more"] if len(found) > TOLD_MAX else []
        told = "\n  ".join(ascii(line)[1:-1] for line in [*found[:TOLD_MAX], *more])
        raise NotInstalled(DAMAGED, f"the bundle is damaged:\n  {told}\n{AGAIN}")


def contents(bundle: Path, folders: "set[str]") -> "tuple[set[str], set[str]]":
    """Return the names of files below a bundle, and those of all else but its folders: links, for one.

    No link is followed, and nothing foreign is looked into.
    """
    files, foreign, left = set(), set(), ["."]
    while left:
        inside = left.pop()
        try:
            entries = list(os.scandir(bundle / inside))
        except OSError as error:
            raise NotInstalled(IO, f"{bundle / inside}: cannot be read ({error.strerror})") from None
        for entry in entries:
            name = entry.name if inside == "." else f"{inside}/{entry.name}"
            if entry.is_file(follow_symlinks=False):
                files.add(name)
            elif entry.is_dir(follow_symlinks=False) and name in folders:
                left.append(name)
            else:
                foreign.add(name)
    return files, foreign


def trouble(path: Path, entry: "dict[str, Any]") -> str:
    """Say what is wrong with a file of the bundle; empty if nothing is."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        return f"damaged: it cannot be read ({error.strerror})"
    if size != entry["bytes"]:
        return f"damaged: {size} bytes, and the manifest says {entry['bytes']}"
    return "" if digest.hexdigest() == entry["sha256"] else "damaged: its SHA-256 is not that of the manifest"


def check_host(manifest: "dict[str, Any]") -> None:
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


def numbers(version: str) -> "tuple[int, ...]":
    """Return a version of numbers as one that can be compared."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def check_places(folder: Path, command: "Path | None") -> None:
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


def install(bundle: Path, manifest: "dict[str, Any]", folder: Path) -> None:
    """Make the environment and the command in a folder, all or nothing; raise NotInstalled."""
    with all_or_nothing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # services run as another user than whoever installs
        share(bundle, manifest["files"], folder)
        run([sys.executable, "-I", "-m", "venv", str(folder / ".venv")], "the environment")
        python = folder / ".venv" / "bin" / "python"
        pip = [str(python), "-I", "-m", "pip", "--disable-pip-version-check"]
        words = ["--no-index", "--no-deps", "--no-cache-dir", "--require-hashes", "--only-binary", ":all:"]
        words += ["--find-links", str(bundle / "wheels"), "--requirement", str(bundle / REQUIREMENTS)]
        run([*pip, "install", "--quiet", *words], "pip")
        run([*pip, "check"], "pip check")
        for name in manifest["loads"]:
            words = [str(python), "-I", "-c", f"import {name}"]
            run(words, f"loading {name} (a library may be missing)", CONFIG)
        said = run([str(folder / ".venv" / "bin" / "assent"), "--version"], "assent --version")
        if manifest["assent"] not in said.split():
            raise NotInstalled(
                DAMAGED, f"assent --version says {said.strip()!r}, and not {manifest['assent']}"
            )


def share(bundle: Path, files: "dict[str, Any]", folder: Path) -> None:
    """Copy the documents that the manifest names, and nothing else, with modes that no umask has touched."""
    for name in sorted(files):
        top, _, below = name.partition("/")
        if top == SHARE:
            copy = folder / below
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle / name, copy, follow_symlinks=False)
            copy.chmod(0o644)


@contextlib.contextmanager
def all_or_nothing(folder: Path) -> "Iterator[None]":
    """Leave everything as it was where what is done inside fails or a signal stops it: parents, too."""
    new, mode = missing(folder), folder.stat().st_mode if folder.exists() else None
    heard = [number for number in STOPS if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores one
    handlers = [(number, signal.signal(number, stopped)) for number in heard]
    try:
        yield
    except BaseException as error:
        for number in heard:
            signal.signal(number, signal.SIG_IGN)  # whoever stops it twice does not stop this
        for path in folder.iterdir() if folder.is_dir() else ():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        if mode is not None:
            folder.chmod(stat.S_IMODE(mode))
        remove(new)
        if isinstance(error, OSError):
            raise NotInstalled(IO, f"{folder}: nothing was installed ({error.strerror})") from None
        raise
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)


def stopped(number: int, _: object) -> NoReturn:
    """End what is being installed by a signal; raise NotInstalled."""
    raise NotInstalled(
        SIGNALLED + number, f"{signal.Signals(number).name}: stopped, and nothing was installed"
    )


def missing(path: Path) -> "list[Path]":
    """Return what of a path and the folders above it is not there yet, the lowest first."""
    return [one for one in (path, *path.parents) if not one.exists()]


def remove(folders: "list[Path]") -> None:
    """Remove folders that were made, the lowest first, unless somebody has put something there meanwhile."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def run(line: "list[str]", what: str, status: int = IO) -> str:
    """Run one step, where no setting of a user or of pip has a say; return what it prints (NotInstalled).

    What stops this stops all processes of the step, and returns when they have ended.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
    }
    with subprocess.Popen(
        line, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as step:  # fmt: skip
        try:
            said = step.communicate()[0].decode("utf-8", "backslashreplace")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(step.pid, signal.SIGKILL)
            step.communicate()
            raise
    if step.returncode:
        raise NotInstalled(status, f"{what} failed, and nothing was installed:\n{said}".rstrip())
    return said


def link(command: Path, folder: Path) -> None:
    """Let a command lead to the installation, in one step; raise NotInstalled."""
    draft, new = command.with_name(f".{command.name}.{os.getpid()}"), missing(command.parent)
    try:
        command.parent.mkdir(parents=True, exist_ok=True)
        draft.symlink_to(folder / ".venv" / "bin" / "assent")
        draft.replace(command)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        remove(new)
        raise NotInstalled(IO, f"{command}: not made ({error.strerror}); {folder} is installed") from None


def done(directory: Path, command: "Path | None", check: bool) -> str:
    """Compare the bundle, and install it unless `check` says not to; return what to say (NotInstalled)."""
    os.umask(0o022)  # folders above, and the link, are for all users of the host, too
    manifest = read_manifest(BUNDLE)
    verify(BUNDLE, manifest)
    if check:
        return f"assent {manifest['assent']}: {len(manifest['files'])} files, all as the manifest says"
    folder = Path(os.path.abspath(directory))
    command = None if command is None else Path(os.path.abspath(command))
    check_host(manifest)
    check_places(folder, command)
    install(BUNDLE, manifest, folder)
    if command is not None:
        link(command, folder)
    return f"assent {manifest['assent']} is installed: {command or folder / '.venv' / 'bin' / 'assent'}"


def main() -> int:
    """Install, or only compare the bundle with its manifest; return the status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a folder may have any name
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
        print(done(given.directory, given.command, given.check))
    except NotInstalled as refused:
        print(f"install: {refused}", file=sys.stderr)
        return refused.status
    except OSError as error:
        print(f"install: {error.filename}: {error.strerror}", file=sys.stderr)
        return IO
    except KeyboardInterrupt:
        print("install: SIGINT: stopped, and nothing was installed", file=sys.stderr)
        return SIGNALLED + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
