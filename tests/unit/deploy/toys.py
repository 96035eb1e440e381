"""A bundle as large as a test: the wheel of a program `assent` that says its version, and no other."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from deploy.bundle import compose

VERSION = "7.1"
PATIENCE_S = 600
"""An environment takes two seconds to make, and minutes on a machine that does much else."""
MODULE = f"""\
def main():
    print("assent, version {VERSION}")
"""


def toy_wheel(folder: Path, name: str = "assent", module: str = MODULE) -> Path:
    """Write the wheel of one module, with this text, whose command has its name."""
    info = f"{name}-{VERSION}.dist-info"
    files = {
        f"{name}.py": module,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = [f"{path},{recorded(text)}\n" for path, text in files.items()]
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"])
    wheel = folder / f"{name}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def recorded(text: str) -> str:
    """Return hash and size of a file as a RECORD has them."""
    found = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={found},{len(text.encode())}"


def toy_bundle(folder: Path, **loads: str) -> Path:
    """Make the folder that a bundle unpacks to, with a wheel of each of these modules that must load."""
    (folder / "wheels").mkdir(parents=True)
    (folder / "share").mkdir()
    (folder / "share" / "LICENSE").write_text("free\n")
    toy_wheel(folder / "wheels")
    for name, text in loads.items():
        toy_wheel(folder / "wheels", name, text)
    compose(folder, loads)
    return folder


def installing(bundle: Path, *words: str | Path) -> list[str]:
    """Return the words that run the installer of a bundle with this Python."""
    return [sys.executable, str(bundle / "install"), *map(str, words)]


def install(bundle: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the installer of a bundle with this Python."""
    line = installing(bundle, *words)
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
