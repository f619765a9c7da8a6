"""The command line as a whole: its help, its modules, the scripts in tools/, and completion."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from glean_plus.analysis.peers.degradations import DEGRADATIONS
from glean_plus.cli.commands import COMMANDS, GROUPS, load, parser_of
from glean_plus.cli.main import main
from glean_plus.export import FORMATS
from glean_plus.inference.network import PRECISIONS as DTYPES
from glean_plus.utils import choices, tables
from glean_plus.weights.convert import DTYPES as FILE_DTYPES
from glean_plus.weights.publish import DATA, KINDS

from conftest import ROOT, load_tool

HEAVY = ('torch', 'numpy', 'PIL', 'mmengine', 'mmagic', 'cv2', 'scipy')


def test_help_lists_every_command_in_its_group(capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['--help'])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    for title, group in GROUPS.items():
        place = said.index(f'{title}:')
        for name, command in group.items():
            place = said.index(f'  {name} ', place)
            assert command.about in said[place:].splitlines()[0]


@pytest.mark.parametrize('names', [['--help'], *([name, '--help'] for name in COMMANDS)], ids=lambda names: names[0])
def test_help_imports_nothing_heavy(names: list[str]) -> None:
    """In a process without the package's own start, which may set up MMagic."""
    code = f"""
import sys, types
sys.modules['glean_plus.compat'] = types.SimpleNamespace(install=lambda: None)
from glean_plus.cli.main import main
try:
    main({names!r})
except SystemExit as ended:
    assert ended.code == 0
print('HEAVY', [name for name in {HEAVY} if name in sys.modules])
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == 'HEAVY []' and 'usage: glean-plus' in result.stdout


def test_modules_have_options_and_calls_alone() -> None:
    """No module of the command line is long, and each but the shared ones is a command."""
    shared = {'__init__', 'main', 'commands', 'options', 'faces', 'completion', 'workers', 'cluster'}
    paths = {path.stem: path for path in (ROOT / 'glean_plus' / 'cli').glob('*.py')}
    assert {*paths} - shared == {*COMMANDS}
    for name in COMMANDS:
        tree = ast.parse(paths[name].read_text(encoding='utf-8'))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {'add_arguments', 'run'} <= functions and ast.get_docstring(tree), name


def test_scripts_are_stubs_of_commands(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    paths = {path.stem: path for path in (ROOT / 'tools').glob('*.py')}
    assert {*paths} == {command.tool for command in COMMANDS.values()}
    for name, command in COMMANDS.items():
        assert len(paths[command.tool].read_text().splitlines()) <= 10
        monkeypatch.setattr(sys, 'argv', [f'{command.tool}.py', '--help'])
        with pytest.raises(SystemExit) as ended:
            tool = load_tool(command.tool)
            tool.main() if hasattr(tool, 'cli') else tool.main([name, '--help'])
        assert ended.value.code == 0 and (load(name).__doc__ or '').split('\n')[0] in capsys.readouterr().out


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_mim_hands_no_count_of_devices_to_a_script(tool: str) -> None:
    assert '--gpus' not in parser_of(tool).format_help()


def test_a_script_has_exit_codes_of_its_own(capsys: Any) -> None:
    """That of the command is 2."""
    assert main(['convert', 'nowhere.pth', 'x.safetensors']) == 2
    assert 'glean-plus: ' in (said := capsys.readouterr().err) and 'nowhere.pth' in said
    with pytest.raises(SystemExit, match=r'^convert_bank: .*nowhere\.pth'):
        load_tool('convert_bank').main(['nowhere.pth', 'x.safetensors'])
    assert load_tool('prepare_data').main(['folder', 'nowhere', 'out', '--size', '16', '--workers', '1']) == 2
    assert 'nowhere is no folder' in capsys.readouterr().err


def test_an_interruption_is_130_and_says_what_resumes(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('glean_plus.prepare.text.run.prepare_text', interrupted)
    monkeypatch.setattr('glean_plus.prepare.prepare', interrupted)
    text = ['out', '--fonts', 'a', '--texts', 'b']
    folder = ['folder', 'a', 'out', '--size', '16']
    for call in (lambda: main(['text', *text]), lambda: load_tool('prepare_text').main(text),
                 lambda: main(['prepare', *folder]), lambda: load_tool('prepare_data').main(folder)):  # fmt: skip
        assert call() == 130
        assert capsys.readouterr().err == 'glean-plus: interrupted; the same command resumes.\n'


def test_a_file_that_fails_is_an_error_of_the_data_set(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('glean_plus.prepare.text.run.prepare_text', full)
    assert main(['text', 'out', '--fonts', 'a', '--texts', 'b']) == 2
    assert 'No space left on device' in capsys.readouterr().err


def test_choices_are_what_the_code_has() -> None:
    assert (*FORMATS,) == choices.EXPORTS and (*DTYPES,) == choices.PRECISIONS
    choices_of = {
        (name, action.dest): action.choices for name in COMMANDS for action in parser_of(name)._actions
    }  # fmt: skip
    assert choices_of['convert', 'dtype'] == sorted(FILE_DTYPES)
    assert choices_of['publish', 'kind'] == sorted(KINDS) and choices_of['publish', 'data'] == sorted(DATA)
    assert [*choices_of['peers', 'degrade']] == [*DEGRADATIONS]
    from glean_plus.analysis.ablation import DISTANCES, FUSION_OFF, SETS
    from glean_plus.analysis.benchmark.contenders import TASKS

    assert {*choices_of['inspect', 'distance']} == {*DISTANCES}
    assert {*choices_of['inspect', 'fusion_off']} == {*FUSION_OFF} and {*choices_of['inspect', 'which']} == {*SETS}
    assert {*choices_of['benchmark', 'task']} == {*TASKS}


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'tcsh'])
def test_completion(shell: str, capsys: Any, tmp_path: Path) -> None:
    pytest.importorskip('shtab')
    with pytest.raises(SystemExit) as ended:
        main(['--print-completion', shell])
    script = capsys.readouterr().out
    assert not ended.value.code
    assert all(word in script for word in ('restore', 'consistent', 'calibrate'))
    if shell != 'bash':
        return
    (tmp_path / 'complete.sh').write_text(script)
    for line, wanted in (
        ('glean-plus rest', ['restore']), ('glean-plus restore --spe', ['--speed']),
        ('glean-plus restore --speed ', [*choices.SPEEDS]),
    ):  # fmt: skip
        words = line.split(' ')
        ask = f"""
source {tmp_path / 'complete.sh'}
COMP_WORDS=({' '.join(word or "''" for word in words)}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'
_shtab_glean_plus glean-plus '{words[-1]}' '{words[-2]}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        result = subprocess.run(['bash', '-c', ask], capture_output=True, text=True)
        assert result.stdout.split() == wanted, result.stderr


def test_completion_without_its_package(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, 'shtab', None)
    assert main(['--print-completion', 'bash']) == 2
    assert 'pip install "glean_plus[completion]"' in capsys.readouterr().err


def test_tables() -> None:
    rows = [('name', 'n'), ('a|b', '10'), ('longer one', '2')]
    assert tables.markdown(rows) == ['| name | n |', '|---|---|', '| a\\|b | 10 |', '| longer one | 2 |']
    assert tables.aligned(rows, ' | ') == ['name       | n', 'a|b        | 10', 'longer one | 2']
