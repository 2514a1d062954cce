# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Puts the bundles into the wheel, as ``monai_mmseg/_bundles``; all else stands in setup.cfg."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# no weights, data or results: what `mmseg bundle copy` writes
PATTERNS = ("LICENSE", "large_files.yml", "configs/**/*", "docs/**/*", "models/README.md")


class BuildWithBundles(build_py):
    """An editable install leaves them out: there the package lies beside the bundles."""

    def bundle_files(self) -> dict[str, str]:
        """File of the repository by file of the package."""
        found = sorted({path for pattern in PATTERNS for path in Path("bundles").glob(f"*/{pattern}")})
        names = [path.as_posix() for path in found if path.is_file() and not path.name.startswith(".")]
        package = Path(self.build_lib) / "monai_mmseg" / "_bundles"
        return {str(package / name.removeprefix("bundles/")): name for name in names}

    def run(self) -> None:
        """Build the package, then add the bundles."""
        super().run()
        if not self.editable_mode:
            for target, source in self.bundle_files().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target, preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What is built."""
        own = [] if self.editable_mode else list(self.bundle_files())
        return [*super().get_outputs(include_bytecode), *own]

    def get_source_files(self) -> list[str]:
        """What a source distribution needs."""
        return [*super().get_source_files(), *self.bundle_files().values()]


setup(cmdclass={"build_py": BuildWithBundles})
