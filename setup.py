"""Packaging: everything is in setup.cfg, but for what mim reads, which travels as glean_plus/.mim."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithMim(build_py):
    """Puts configs/, tools/ and model-index.yml where mim looks for them in an installed package."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / 'glean_plus' / '.mim'
        for folder in ('configs', 'tools'):
            copytree(ROOT / folder, target / folder, dirs_exist_ok=True, ignore=ignore_patterns('__pycache__'))
        self.copy_file(str(ROOT / 'model-index.yml'), str(target / 'model-index.yml'))


setup(cmdclass={'build_py': BuildWithMim})
