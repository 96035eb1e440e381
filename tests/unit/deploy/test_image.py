"""Parts of an image name one another by their hashes, and its bytes follow from its layers."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy.image import USER, make_tree, split, version_of, write_archive
from deploy.making import NotMade
from deploy.packing import pack
from tests.unit.deploy.toys import VERSION, toy_bundle


def layers(folder: Path) -> list[Path]:
    """Write a tree of files and divide it."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "tree.tar", "w") as tree:
        for name in ("./etc", "./opt", "./opt/assent", "./opt/assent/bin", "./opt/assentials"):
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE
            tree.addfile(entry)
        for name in ("./etc/passwd", "./opt/assent/bin/assent"):
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid = 4, USER
            tree.addfile(entry, io.BytesIO(b"text"))
    lower, upper = folder / "lower.tar", folder / "upper.tar"
    with lower.open("wb") as below, upper.open("wb") as above:
        split(folder / "tree.tar", below, above)
    return [lower, upper]


def test_what_is_installed_is_the_upper_layer_and_all_else_the_lower(tmp_path: Path) -> None:
    made = layers(tmp_path / "one")
    with tarfile.open(made[0]) as lower, tarfile.open(made[1]) as upper:
        assert lower.getnames() == ["./etc", "./opt", "./opt/assentials", "./etc/passwd"]
        assert upper.getnames() == ["./opt/assent", "./opt/assent/bin", "./opt/assent/bin/assent"]
        assert upper.getmember("./opt/assent/bin/assent").uid == USER


def read(image: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the index of an image, and its blobs by hash; each is what its name says."""
    with tarfile.open(image) as archive:
        parts = {name: archive.extractfile(name) for name in archive.getnames()}
        files = {name: part.read() for name, part in parts.items() if part is not None}
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files.pop("index.json"))
    blobs = {name.removeprefix("blobs/sha256/"): content for name, content in files.items()}
    assert [hashlib.sha256(content).hexdigest() for content in blobs.values()] == list(blobs)
    return index, blobs


def test_an_image_runs_one_command_as_its_own_user_with_its_state_in_a_volume(tmp_path: Path) -> None:
    made = layers(tmp_path / "one")
    write_archive(tmp_path / "image", VERSION, made)
    index, blobs = read(tmp_path / "image")
    (named,) = index["manifests"]
    assert named["annotations"] == {"org.opencontainers.image.ref.name": f"localhost/assent:{VERSION}"}
    manifest = json.loads(blobs[named["digest"].removeprefix("sha256:")])
    hashes = [f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}" for layer in made]
    assert [layer["digest"] for layer in manifest["layers"]] == hashes
    settings = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert settings["rootfs"]["diff_ids"] == hashes
    config = settings["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["/opt/assent/.venv/bin/assent"]
    assert list(config["Volumes"]) == ["/srv/assent"]
    assert not any(port.startswith("30301") for port in config["ExposedPorts"]), "RPC is for the host alone"


def test_the_same_layers_make_the_same_image(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_archive(tmp_path / f"{name}.image", VERSION, layers(tmp_path / name))
    assert (tmp_path / "one.image").read_bytes() == (tmp_path / "two.image").read_bytes()


def test_the_version_of_an_image_is_that_of_its_bundle_and_another_file_is_refused(tmp_path: Path) -> None:
    toy_bundle(tmp_path / "bundle")
    with (tmp_path / "bundle.tar").open("wb") as archive:
        pack(tmp_path / "bundle", archive, "assent-toy")
    assert version_of(tmp_path / "bundle.tar") == VERSION
    (tmp_path / "other").write_text("no archive")
    with tarfile.open(tmp_path / "empty", "w"):
        pass
    for name, manifest in (("folder", None), ("list", "[]")):
        (tmp_path / name / "MANIFEST.json").mkdir(parents=True)
        if manifest is not None:
            (tmp_path / name / "MANIFEST.json").rmdir()
            (tmp_path / name / "MANIFEST.json").write_text(manifest)
        with tarfile.open(tmp_path / f"{name}.tar", "w") as made:
            made.add(tmp_path / name, "top")
    for name in ("other", "empty", "nowhere", "folder.tar", "list.tar"):
        with pytest.raises(NotMade, match=f"{name}: not a bundle"):
            version_of(tmp_path / name)


def test_without_the_tool_that_puts_packages_together_the_tool_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(NotMade, match="apt-get install mmdebstrap"):
        make_tree(tmp_path / "bundle.tar", tmp_path / "tree.tar", "bookworm")
