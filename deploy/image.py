"""`scripts/image`: a container image of Assent, an archive of the OCI layout, built without a runtime.

Its lower layer holds packages of Debian, its upper layer what the bundle installs. The same bundle and the
same versions of Debian's packages make the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from chain.client.console import print_text, speaking
from deploy.bundle import make_bundle
from deploy.making import NotMade, command, step, tell
from deploy.packing import EPOCH, digest

SUITE = "bookworm"
"""The release of Debian whose Python is that of the bundle, 3.11."""
PACKAGES = "python3-venv,ca-certificates,libstdc++6"
OWN = "./opt/assent"
"""What stands below this path is the upper layer."""
USER = 10001
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
RUNTIMES = ("podman", "docker")
MANIFEST_BYTES_MAX = 1 << 20
CREATED = "1980-01-01T00:00:00Z"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INSIDE = f"""\
set -eu
umask 022
/usr/bin/python3 /opt/bundle/*/install /opt/assent >/dev/null
rm -rf /opt/bundle
find /opt/assent -name __pycache__ -prune -exec rm -rf {{}} +
cd /opt/assent/.venv
PYTHONHASHSEED=0 bin/python -m compileall -q --invalidation-mode unchecked-hash lib
echo 'assent:x:{USER}:{USER}::/srv/assent:/usr/sbin/nologin' >>/etc/passwd
echo 'assent:x:{USER}:' >>/etc/group
mkdir -p -m 700 /srv/assent /srv/exchange
chown {USER}:{USER} /srv/assent /srv/exchange
"""
"""What is done in the tree of files: compiled modules carry no times, for nobody writes there later."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that an image names by its hash."""

    kind: str
    sha256: str
    size: int

    def named(self) -> dict[str, object]:
        """Return it as a manifest names it."""
        return {"mediaType": self.kind, "digest": f"sha256:{self.sha256}", "size": self.size}


def make_tree(bundle: Path, target: Path, suite: str) -> None:
    """Write the whole tree of files of the image as a tar archive; raise NotMade."""
    if shutil.which("mmdebstrap") is None:
        raise NotMade(
            "the program mmdebstrap is missing: it puts Debian's packages together without a container "
            "runtime; install it (Debian, Ubuntu: apt-get install mmdebstrap)"
        )
    script = target.with_suffix(".sh")
    script.write_text(INSIDE, encoding="utf-8")
    words = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={PACKAGES}"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc", "info")]
    words += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    hooks = ['mkdir -p "$1/opt/bundle"', f"tar-in {bundle} /opt/bundle", f"copy-in {script} /opt/bundle"]
    hooks += [f'chroot "$1" sh /opt/bundle/{script.name}']
    words += [f"--customize-hook={hook}" for hook in hooks]
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if said := step([*words, suite, str(target)], PATH=path):
        last = "\n".join(said.splitlines()[-8:])
        raise NotMade(f"mmdebstrap {suite} failed; it needs root or user namespaces, and a mirror:\n{last}")


def split(tree: Path, lower: IO[bytes], upper: IO[bytes]) -> None:
    """Divide a tree of files into its two layers, in the order of the archive."""
    with (
        tarfile.open(tree) as source,
        tarfile.open(fileobj=lower, mode="w", format=tarfile.PAX_FORMAT) as below,
        tarfile.open(fileobj=upper, mode="w", format=tarfile.PAX_FORMAT) as above,
    ):
        for entry in source:
            own = entry.name == OWN or entry.name.startswith(f"{OWN}/")
            (above if own else below).addfile(entry, source.extractfile(entry) if entry.isfile() else None)


def settings(version: str, layers: list[Blob]) -> bytes:
    """Return the configuration of the image: an own user, one command, and its state in a volume."""
    config = {
        "User": f"{USER}:{USER}",
        "Entrypoint": ["/opt/assent/.venv/bin/assent"],
        "Cmd": ["--help"],
        "Env": ["PATH=/opt/assent/.venv/bin:/usr/bin:/bin", "LANG=C.UTF-8"],
        "WorkingDir": "/srv/assent",
        "Volumes": {"/srv/assent": {}},
        "ExposedPorts": {"30300/tcp": {}, "30302/tcp": {}},
        "StopSignal": "SIGTERM",
        "Labels": {"org.opencontainers.image.title": "assent", "org.opencontainers.image.version": version},
    }
    content = {
        "created": CREATED,
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}" for layer in layers]},
        "history": [
            {"created": CREATED, "created_by": "Debian's packages"},
            {"created": CREATED, "created_by": "install of the bundle"},
        ],
    }
    return json.dumps(content, sort_keys=True).encode()


def write_archive(target: Path, version: str, layers: list[Path]) -> None:
    """Write the archive of an image whose layers, lowest first, are tar archives."""
    blobs = [Blob(LAYER, digest(layer), layer.stat().st_size) for layer in layers]
    config = settings(version, blobs)
    described = Blob(CONFIG, hashlib.sha256(config).hexdigest(), len(config))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described.named(),
            "layers": [blob.named() for blob in blobs],
        },
        sort_keys=True,
    ).encode()
    named = Blob(MANIFEST, hashlib.sha256(manifest).hexdigest(), len(manifest)).named()
    name = {"org.opencontainers.image.ref.name": f"localhost/assent:{version}"}
    index = {"schemaVersion": 2, "manifests": [{**named, "annotations": name}]}
    texts = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps(index, sort_keys=True).encode(),
        f"blobs/sha256/{described.sha256}": config,
        f"blobs/sha256/{hashlib.sha256(manifest).hexdigest()}": manifest,
    }
    with tarfile.open(target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in texts.items():
            archive.addfile(_entry(path, len(content)), io.BytesIO(content))
        for blob, layer in zip(blobs, layers, strict=True):
            with layer.open("rb") as source:
                archive.addfile(_entry(f"blobs/sha256/{blob.sha256}", blob.size), source)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mtime, entry.size = EPOCH, size
    return entry


def version_of(bundle: Path) -> str:
    """Return the version of Assent that a bundle installs; raise NotMade for another file."""
    try:
        with tarfile.open(bundle) as archive:
            top = next(iter(archive)).name.partition("/")[0]
            found = archive.extractfile(f"{top}/MANIFEST.json")
            if found is None:
                raise ValueError("its manifest is no file")
            return str(json.loads(found.read(MANIFEST_BYTES_MAX))["assent"])
    except (OSError, tarfile.TarError, StopIteration, KeyError, TypeError, ValueError) as error:
        raise NotMade(f"{bundle}: not a bundle ({error}); make one with scripts/bundle") from None


def make_image(target: Path, bundle: Path | None = None, suite: str = SUITE) -> Path:
    """Build the image in a folder, with a new bundle if none is given; return its archive (NotMade)."""
    if platform.machine() not in ARCHITECTURES:
        raise NotMade(f"images are built on {' and '.join(ARCHITECTURES)}, not on {platform.machine()}")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".image-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        chosen = (bundle or make_bundle(folder)).absolute()
        version = version_of(chosen)
        make_tree(chosen, folder / "tree.tar", suite)
        layers = [folder / "lower.tar", folder / "upper.tar"]
        with layers[0].open("wb") as lower, layers[1].open("wb") as upper:
            split(folder / "tree.tar", lower, upper)
        (folder / "tree.tar").unlink()
        name = f"assent-{version}-{ARCHITECTURES[platform.machine()]}.oci.tar"
        write_archive(folder / name, version, layers)
        return (folder / name).replace(target / name)


@command("image")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Install this bundle; else scripts/bundle makes one.",
)
@click.option("--suite", default=SUITE, show_default=True, help="The release of Debian.")
def main(output: Path, bundle: Path | None, suite: str) -> None:
    """Build a container image of Assent; no container runtime is needed: docs/operating.md."""
    made = make_image(output, bundle, suite)
    tell(made)
    runtime = next((name for name in RUNTIMES if shutil.which(name)), None)
    print_text(
        "no container runtime is here to load it" if runtime is None else f"next: {runtime} load -i {made}"
    )


if __name__ == "__main__":
    with speaking():
        main()
