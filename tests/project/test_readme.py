"""What the README says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from conftest import CONFIGS, ROOT

README = (ROOT / 'README.md').read_text()


def test_mmagic_s_bank_defect_is_seen_in_five_lines(tmp_path: Path) -> None:
    """In a process of its own, in which what this package registers comes with the first look-up."""
    block = next(b for b in re.findall(r'```python\n(.*?)```', README, re.DOTALL) if 'bank.pth' in b)
    code = textwrap.dedent(block)
    assert len(ast.parse(code).body) <= 7
    imports, _, rest = code.partition('\n')
    code = f"{imports}\nassert MODELS.get('GLEANRestorer').__name__ == 'GLEANRestorer'\n{rest}"
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.strip().splitlines()[-1] == 'False'


def test_files_and_configs_that_it_names_are_there() -> None:
    for text in (README, (CONFIGS / 'README.md').read_text()):
        for name in set(re.findall(r'(?<!test_)(?:light)?(?:glean|stylegan2)_\w+\.py', text)):
            assert (CONFIGS / name).is_file() or name.startswith('glean_x16'), name
    for name in re.findall(r'\]\(([\w/.]+)\)', README) + re.findall(
        r'`((?:tests|tools|requirements)/[\w./-]+)`', README
    ):
        assert (ROOT / name).exists(), name
    for target in re.findall(r'`make (\w+)`', README):
        assert re.search(rf'^{target}:', (ROOT / 'Makefile').read_text(), re.MULTILINE), target


def test_each_feature_beside_other_tools_has_its_test() -> None:
    """The last column names a test that there is; a feature that is called ours has one."""
    section = README.partition('## Beside other tools')[2].partition('\n## ')[0]
    rows = [line.strip('|').split('|') for line in section.splitlines() if line.startswith('| ')][1:]
    assert len(rows) > 20 and {len(row) for row in rows} == {7}
    for row in rows:
        assert row[5].strip() in '+-' and all(re.match(r'\+|-|\(\+\)', cell.strip()) for cell in row[1:5]), row
        if row[5].strip() == '-':
            assert not row[6].strip(), row
            continue
        (name,) = re.findall(r'`(\w+/test_\w+\.py(?:::test_\w+)?)`', row[6])
        module, _, function = name.partition('::')
        path = ROOT / 'tests' / module
        assert path.is_file(), name
        if function:
            names = {each.name for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef)}
            assert function in names, name
