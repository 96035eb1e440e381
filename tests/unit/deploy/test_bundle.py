"""A bundle installs without a network, or says by name what keeps it from that, and nothing is left."""

from __future__ import annotations

import io
import json
import platform
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy import install as installer
from deploy.bundle import glibc_of, root_modules
from deploy.packing import pack
from tests.unit.deploy.toys import VERSION, install, toy_bundle, toy_wheel


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


def without_manifest(bundle: Path) -> str:
    (bundle / "MANIFEST.json").unlink()
    return f"{bundle / 'MANIFEST.json'}: missing"


def torn_manifest(bundle: Path) -> str:
    (bundle / "MANIFEST.json").write_bytes((bundle / "MANIFEST.json").read_bytes()[:-9])
    return f"{bundle / 'MANIFEST.json'}: damaged (JSONDecodeError)"


def manifest_of_another_thing(bundle: Path) -> str:
    changed(bundle, kind="something")
    return f"{bundle / 'MANIFEST.json'}: not the manifest of a bundle of Assent"


@pytest.mark.parametrize(
    "hurt", [damaged, cut, gone, foreign, linked, without_manifest, torn_manifest, manifest_of_another_thing]
)
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


def test_a_whole_bundle_can_be_checked_without_being_installed(bundle: Path) -> None:
    done = install(bundle, "--check")
    assert (done.returncode, done.stdout) == (0, f"assent {VERSION}: 4 files, all as the manifest says\n")


def changed(bundle: Path, **facts: str) -> dict[str, Any]:
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


def test_what_fails_in_the_middle_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    changed(bundle, assent="8.0")
    done = install(bundle, tmp_path / "opt")
    assert done.returncode == 65
    assert f"assent --version says 'assent, version {VERSION}', and not 8.0" in done.stderr
    assert not (tmp_path / "opt").exists()


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
