"""A bundle installs without a network, or says by name what keeps it from that, and nothing is left."""

from __future__ import annotations

import io
import json
import os
import platform
import random
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy import install as installer
from deploy.bundle import SHARED, glibc_of, root_modules
from deploy.making import REPOSITORY
from deploy.packing import pack
from tests.unit.deploy.toys import PATIENCE_S, VERSION, install, installing, toy_bundle, toy_wheel


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return toy_bundle(tmp_path / "bundle")


def test_what_is_installed_without_a_network_is_the_command_its_documents_and_a_link(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of pip and of users have no say in it."""
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text("[global]\ntarget = /nowhere\n")
    folder, command = tmp_path / "opt" / "assent", tmp_path / "bin" / "assent"
    command.parent.mkdir()
    command.symlink_to(tmp_path / "older")
    done = install(bundle, folder, "--command", command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"assent {VERSION} is installed: {command}\n"
    said = subprocess.run([command], capture_output=True, text=True, check=True).stdout
    assert said == f"assent, version {VERSION}\n"
    assert (folder / "LICENSE").read_text() == "free\n"
    for path in (folder, folder / ".venv", folder / ".venv" / "bin" / "assent"):
        assert path.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH) == stat.S_IROTH | stat.S_IXOTH, path
    again = install(bundle, folder)
    assert again.returncode == 74
    assert f"{folder}: already there, and not empty; name a new folder" in again.stderr


def damaged(bundle: Path) -> str:
    wheel = bundle / "wheels" / f"assent-{VERSION}-py3-none-any.whl"
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    return f"wheels/{wheel.name}: damaged: its SHA-256 is not that of the manifest"


def cut(bundle: Path) -> str:
    requirements = bundle / "requirements.txt"
    size = requirements.stat().st_size
    requirements.write_bytes(requirements.read_bytes()[:-1])
    return f"requirements.txt: damaged: {size - 1} bytes, and the manifest says {size}"


def gone(bundle: Path) -> str:
    (bundle / "share" / "LICENSE").unlink()
    return "share/LICENSE: missing"


def foreign(bundle: Path) -> str:
    toy_wheel(bundle / "wheels", "smuggled")
    return f"wheels/smuggled-{VERSION}-py3-none-any.whl: not a file of this bundle"


def linked(bundle: Path) -> str:
    licence = bundle / "share" / "LICENSE"
    licence.rename(bundle.parent / "elsewhere")
    licence.symlink_to(bundle.parent / "elsewhere")
    return "share/LICENSE: missing"


def documents_from_elsewhere(bundle: Path) -> str:
    elsewhere = bundle.parent / "elsewhere"
    (bundle / "share").rename(elsewhere)
    (bundle / "share").symlink_to(elsewhere)
    return "share: not a file of this bundle"


def folder_from_elsewhere(bundle: Path) -> str:
    elsewhere = bundle.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("of one user")
    (elsewhere / "secret").chmod(0o600)
    (bundle / "share" / "extra").symlink_to(elsewhere)
    return "share/extra: not a file of this bundle"


def folder_of_nothing(bundle: Path) -> str:
    (bundle / "share" / "extra" / "deeper").mkdir(parents=True)
    return "share/extra: not a file of this bundle"


def pipe(bundle: Path) -> str:
    os.mkfifo(bundle / "share" / "pipe")
    return "share/pipe: not a file of this bundle"


def name_that_a_terminal_obeys(bundle: Path) -> str:
    (bundle / "share" / "\x1b[2Jx\n").write_text("")
    return "share/\\x1b[2Jx\\n: not a file of this bundle"


def many_foreign(bundle: Path) -> str:
    for number in range(installer.TOLD_MAX + 5):
        (bundle / "share" / f"{number:02}").write_text("")
    return "and 5 more"


def manifest_that_is_a_pipe(bundle: Path) -> str:
    (bundle / "MANIFEST.json").unlink()
    os.mkfifo(bundle / "MANIFEST.json")
    return f"{bundle / 'MANIFEST.json'}: no file of its own"


def without_manifest(bundle: Path) -> str:
    (bundle / "MANIFEST.json").unlink()
    return f"{bundle / 'MANIFEST.json'}: missing"


def torn_manifest(bundle: Path) -> str:
    (bundle / "MANIFEST.json").write_bytes((bundle / "MANIFEST.json").read_bytes()[:-9])
    return f"{bundle / 'MANIFEST.json'}: damaged (JSONDecodeError)"


def manifest_of_another_thing(bundle: Path) -> str:
    changed(bundle, kind="something")
    return f"{bundle / 'MANIFEST.json'}: not the manifest of a bundle of Assent"


HURTS = [
    damaged, cut, gone, foreign, linked, documents_from_elsewhere, folder_from_elsewhere,
    folder_of_nothing, pipe, name_that_a_terminal_obeys, many_foreign, without_manifest,
    manifest_that_is_a_pipe, torn_manifest, manifest_of_another_thing,
]  # fmt: skip


@pytest.mark.parametrize("hurt", HURTS)
def test_a_damaged_bundle_is_refused_by_the_name_of_the_file_and_nothing_is_written(
    hurt: Callable[[Path], str], bundle: Path, tmp_path: Path
) -> None:
    words = hurt(bundle)
    done = install(bundle, tmp_path / "opt")
    assert done.returncode == 65
    assert words in done.stderr
    assert "fetch the bundle again" in done.stderr
    assert not (tmp_path / "opt").exists()
    assert install(bundle, "--check").returncode == 65


@pytest.mark.parametrize("name", ["__future__", "json", "argparse", "os", "posix", "stat", "pathlib"])
def test_nothing_beside_the_installer_runs_though_python_would_look_there_first(
    name: str, bundle: Path, tmp_path: Path
) -> None:
    text = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    (bundle / f"{name}.py").write_text(text)
    done = install(bundle, "--check")
    assert not (tmp_path / "ran").exists()
    assert (done.returncode, f"{name}.py: not a file of this bundle" in done.stderr) == (65, True)


def test_nothing_in_the_search_path_of_a_user_runs_in_the_installer(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert install(bundle, "--check").returncode == 0
    assert not (tmp_path / "ran").exists()


def test_a_manifest_that_is_damaged_anywhere_ends_with_one_line_and_the_status_of_damage(
    bundle: Path,
) -> None:
    """What is refused at once is refused so; what reads well is compared, and nothing else is raised."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    whole = (bundle / "MANIFEST.json").read_bytes()
    lines, statuses = [], set()
    for _ in range(1_000):
        (bundle / "MANIFEST.json").write_bytes(hurt_manifest(whole, rng))
        try:
            manifest = installer.read_manifest(bundle)
        except installer.NotInstalled as error:
            lines.append(len(str(error).splitlines()))
            statuses.add(error.status)
            continue
        try:
            installer.verify(bundle, manifest)
        except installer.NotInstalled as error:
            statuses.add(error.status)
    assert len(lines) > 500
    assert (set(lines), statuses) == ({1}, {65})


ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1 << 70, "", "\0", "../x", "/etc/passwd", "a" * 300,
    "\n", "\ud800", [], {}, [[]], {"x": 1},
]  # fmt: skip


def hurt_manifest(whole: bytes, rng: random.Random) -> bytes:
    """Return a manifest with bytes changed or cut, or with one part of it dropped, replaced or renamed."""
    if rng.random() < 0.3:
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        return bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
    manifest = json.loads(whole)
    inner = [manifest, manifest["files"], *manifest["files"].values()]
    part = rng.choice(inner)
    name = rng.choice(sorted(part))
    kept = part.pop(name)
    if (way := rng.randrange(3)) == 1:
        part[name] = rng.choice(ODD)
    elif way == 2:
        part[str(rng.choice(ODD))] = kept
    return json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"format": None}, "damaged (its format is not 1, which this installer reads)"),
        ({"format": 2}, "damaged (its format is not 1, which this installer reads)"),
        ({"format": True}, "damaged (its format is not 1, which this installer reads)"),
        ({"loads": ["os; import sys"]}, "damaged (loads)"),
        ({"python": "3.11\n"}, "damaged (python)"),
        ({"files": {}}, "damaged (files)"),
    ],
)
def test_a_manifest_that_is_not_written_as_one_is_refused_by_the_part(
    facts: dict[str, Any], why: str, bundle: Path
) -> None:
    changed(bundle, **facts)
    done = install(bundle, "--check")
    assert done.returncode == 65
    assert done.stderr == f"install: {bundle / 'MANIFEST.json'}: {why}; {installer.AGAIN}\n"


@pytest.mark.parametrize(
    "name", ["a" * 300, "../x", "/x", "share/../../x", "share//x", "share/.x", "", "a\0", "MANIFEST.json"]
)
def test_a_manifest_names_no_file_that_a_bundle_cannot_have(name: str, bundle: Path) -> None:
    manifest = json.loads((bundle / "MANIFEST.json").read_text())
    manifest["files"][name] = manifest["files"]["install"]
    with pytest.raises(ValueError, match="a name, a size or a hash in its files"):
        installer.parse_manifest(json.dumps(manifest).encode())


def test_a_manifest_of_deep_brackets_or_of_any_size_is_damaged() -> None:
    for content in (b"[" * 100_000, b" " * (installer.MANIFEST_BYTES_MAX + 1), b'{"kind": ' + b"9" * 5_000):
        with pytest.raises(ValueError, match="damaged"):
            installer.parse_manifest(content)


def test_an_installer_takes_the_name_of_every_document_of_this_source() -> None:
    for name in SHARED:
        path = REPOSITORY / name
        for one in path.rglob("*") if path.is_dir() else [path]:
            assert installer.is_file_name(f"share/{one.relative_to(REPOSITORY).as_posix()}"), one


def test_a_whole_bundle_can_be_checked_without_being_installed(bundle: Path) -> None:
    done = install(bundle, "--check")
    assert (done.returncode, done.stdout) == (0, f"assent {VERSION}: 4 files, all as the manifest says\n")


def changed(bundle: Path, **facts: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((bundle / "MANIFEST.json").read_text())
    manifest |= facts
    (bundle / "MANIFEST.json").write_text(json.dumps(manifest))
    return manifest


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"python": "3.4"}, "the bundle is for CPython 3.4, and this is cpython"),
        (
            {"machine": "pdp11"},
            f"the bundle is for Linux on pdp11, and this is linux on {platform.machine()}",
        ),
        ({"glibc": "99.1"}, "the bundle needs glibc 99.1 or newer, and this host has"),
    ],
)
def test_a_host_that_cannot_run_what_is_in_the_bundle_is_told_what_it_lacks(
    facts: dict[str, str], words: str, bundle: Path, tmp_path: Path
) -> None:
    changed(bundle, **facts)
    done = install(bundle, tmp_path / "opt")
    assert done.returncode == 78
    assert words in done.stderr
    assert not (tmp_path / "opt").exists()


def test_what_fails_in_the_middle_leaves_nothing_and_no_folder_above_it(bundle: Path, tmp_path: Path) -> None:
    changed(bundle, assent="8.0")
    done = install(bundle, tmp_path / "new" / "opt" / "assent")
    assert done.returncode == 65
    assert f"assent --version says 'assent, version {VERSION}', and not 8.0" in done.stderr
    assert not (tmp_path / "new").exists()


def test_what_fails_in_the_middle_leaves_an_empty_folder_as_it_was(bundle: Path, tmp_path: Path) -> None:
    changed(bundle, assent="8.0")
    (tmp_path / "opt").mkdir(mode=0o711)
    before = (tmp_path / "opt").stat()
    assert install(bundle, tmp_path / "opt").returncode == 65
    after = (tmp_path / "opt").stat()
    assert (after.st_ino, after.st_mode, list((tmp_path / "opt").iterdir())) == (
        before.st_ino,
        before.st_mode,
        [],
    )


WAITING = """\
import os, signal
told = open({path!r}, "w")
os.fork()
told.write("x")
told.flush()
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_ends_every_process_of_a_step_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The pipe ends for its reader when all who could write there have ended."""
    os.mkfifo(tmp_path / "told")
    bundle = toy_bundle(tmp_path / "bundle", waiting=WAITING.format(path=str(tmp_path / "told")))
    line = installing(bundle, tmp_path / "new" / "opt")
    with (
        subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process,
        (tmp_path / "told").open() as told,
    ):
        assert told.read(2) == "xx"
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE_S)[1]
        assert told.read() == ""
    assert process.returncode == 128 + number
    assert said == f"install: {number.name}: stopped, and nothing was installed\n"
    assert not (tmp_path / "new").exists()


def test_a_command_that_cannot_be_made_leaves_no_folder_that_was_made_for_it(
    bundle: Path, tmp_path: Path
) -> None:
    done = install(bundle, tmp_path / "opt", "--command", tmp_path / "bin" / "deep" / ("a" * 255))
    assert done.returncode == 74
    assert "File name too long" in done.stderr
    assert f"{tmp_path / 'opt'} is installed" in done.stderr
    assert not (tmp_path / "bin").exists()


def test_a_folder_whose_name_no_disk_takes_is_told_by_name(bundle: Path, tmp_path: Path) -> None:
    done = install(bundle, tmp_path / ("a" * 300))
    assert (done.returncode, done.stderr) == (74, f"install: {tmp_path / ('a' * 300)}: File name too long\n")


def test_a_host_that_lacks_a_library_is_told_what_does_not_load_and_nothing_is_left(
    bundle: Path, tmp_path: Path
) -> None:
    """Wheels are there and whole, and the C library beside them is not."""
    manifest = json.loads((bundle / "MANIFEST.json").read_text())
    (bundle / "MANIFEST.json").write_text(json.dumps({**manifest, "loads": ["assent", "of_no_wheel"]}))
    done = install(bundle, tmp_path / "opt")
    assert done.returncode == 78
    assert "loading of_no_wheel (a library may be missing) failed, and nothing was installed" in done.stderr
    assert not (tmp_path / "opt").exists()


def test_what_assent_depends_on_must_load_on_a_host() -> None:
    assert {"numpy", "plyvel", "duckdb", "nacl", "cryptography", "adbc_driver_postgresql"} <= set(
        root_modules()
    )


def test_a_command_that_is_no_link_is_not_replaced(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "assent").write_text("another program")
    done = install(bundle, tmp_path / "opt", "--command", tmp_path / "assent")
    assert done.returncode == 74
    assert f"{tmp_path / 'assent'}: already there, and no link of an earlier installation" in done.stderr
    assert not (tmp_path / "opt").exists()


def test_the_installer_and_assent_speak_of_the_same_statuses() -> None:
    from chain.primitives.errors import Exit

    assert (installer.DAMAGED, installer.IO, installer.CONFIG) == (Exit.DAMAGED, Exit.IO, Exit.CONFIG)


def test_the_same_files_make_the_same_archive_whoever_packs_them(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy, copy_function=shutil.copyfile)
    (copy / "install").chmod(0o700)
    (copy / "share" / "LICENSE").chmod(0o600)
    archives = []
    for folder in (bundle, copy):
        target = io.BytesIO()
        pack(folder, target, "assent")
        archives.append(target.getvalue())
    assert archives[0] == archives[1]


@pytest.mark.parametrize(
    ("names", "version"),
    [
        (["a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"], "2.17"),
        (["a-1-py3-none-any.whl", "b-1-cp311-abi3-manylinux_2_34_x86_64.whl"], "2.34"),
        (
            [
                "a-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
                "b-1-py3-none-manylinux1_x86_64.whl",
            ],
            "2.27",
        ),
        (["a-1-py3-none-any.whl"], ""),
    ],
)
def test_the_oldest_c_library_that_runs_a_bundle_is_what_its_most_demanding_wheel_asks_for(
    names: list[str], version: str
) -> None:
    assert glibc_of(names) == version
