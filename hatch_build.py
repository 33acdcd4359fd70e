"""Compiles the hot path where that is possible, while Pointsman is built or installed from its source.

Two things are compiled: the extensions in `gateway` that are written in Cython, and the modules of
`gateway.accelerator` (mypyc), whose Python source stays what runs without them. Without a C compiler or
Python's headers the package is built without them: slower, and otherwise the same.
`POINTSMAN_ACCELERATOR=off` builds without them on purpose.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


class AcceleratorHook(BuildHookInterface[Any]):
    """Adds what was compiled to a wheel; for an editable install it stays beside its source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        accelerator = load_accelerator(root)
        if self.target_name != "wheel" or not accelerator.wanted():
            return
        try:
            built = compile_all(root, accelerator)
        except Exception as error:
            self.app.display_warning(f"nothing is compiled, the gateway runs as Python: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            for file in built:
                build_data["force_include"][str(file)] = str(file.relative_to(root))


def load_accelerator(root: Path) -> ModuleType:
    """`gateway.accelerator`, which needs nothing but the standard library."""
    spec = importlib.util.spec_from_file_location("accelerator", root / "gateway" / "accelerator.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(root / "gateway" / "accelerator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_all(root: Path, accelerator: ModuleType) -> list[Path]:
    """Everything, and last what says of which sources: what is half made is not used. Raises as both do."""
    built = [*compile_modules(root, accelerator), *compile_extensions(root, accelerator)]
    manifest: Path = root / "gateway" / accelerator.FOLDER.name / accelerator.MANIFEST
    manifest.write_text(json.dumps(accelerator.digests()))
    return [*built, manifest]


def compile_extensions(root: Path, accelerator: ModuleType) -> list[Path]:
    """Compile what is written in Cython. Raises whatever Cython or the compiler raises.

    Into the folder that `compile_modules` has made, but for those of BESIDE.
    """
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    names = (*accelerator.BESIDE, *accelerator.EXTENSIONS)
    with tempfile.TemporaryDirectory() as folder:
        sources = [
            Extension(name, [str(root.joinpath(*name.split(".")).with_suffix(".pyx"))]) for name in names
        ]
        extensions = cythonize(sources, build_dir=folder, quiet=True, language_level=3)
        command = build_ext(Distribution({"ext_modules": extensions}))
        command.build_lib = command.build_temp = folder
        command.ensure_finalized()
        command.run()
        return [_put(Path(command.get_ext_fullpath(name)), _place(root, accelerator, name)) for name in names]


def _place(root: Path, accelerator: ModuleType, name: str) -> Path:
    if name in accelerator.BESIDE:
        return root.joinpath(*name.split(".")).with_name(f"{name.split('.')[-1]}{SUFFIX}")
    return root / "gateway" / accelerator.FOLDER.name / f"{name}{SUFFIX}"


def compile_modules(root: Path, accelerator: ModuleType) -> list[Path]:
    """Compile the accelerator's modules into its folder. Raises RuntimeError with the compiler's words."""
    target = root / "gateway" / accelerator.FOLDER.name
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [str(accelerator.source(module).relative_to(root)) for module in accelerator.MODULES]
        (folder / "setup.py").write_text(_SETUP.format(sources=sources, group=accelerator.GROUP))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        built_in = ("--build-lib", name, "--build-temp", name)
        command = [sys.executable, str(folder / "setup.py"), "build_ext", *built_in]
        done = subprocess.run(  # noqa: S603 - our own set-up script
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"mypyc: {(done.stdout + done.stderr)[-2000:]}")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        built: list[Path] = []
        for file in folder.rglob(f"*{SUFFIX}"):
            module = ".".join(file.relative_to(folder).parts).removesuffix(SUFFIX)
            built.append(_put(file, target / f"{module}{SUFFIX}"))
    return built


_SETUP = """
from mypyc.build import mypycify
from setuptools import setup
setup(
    name="accelerated", packages=[], py_modules=[],
    ext_modules=mypycify(
        ["--ignore-missing-imports", "--follow-imports=silent", "--config-file=", *{sources!r}],
        opt_level="1", debug_level="0", group_name={group!r},
    ),
)
"""


def _put(file: Path, target: Path) -> Path:
    """Move into place by renaming: a process that runs keeps the file it has."""
    fresh = target.with_suffix(".new")
    shutil.copy(file, fresh)
    return fresh.replace(target)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    compile_all(here, load_accelerator(here))
