"""Every fenced block of README.md, CHANGELOG.md and docs/ is run or parsed; none is passed over.

| language | what happens |
|---|---|
| `python` | runs in a fresh interpreter and an empty folder, warnings are errors |
| `python continues` | runs behind the python block before it, in the same interpreter |
| `bash`, `console` | runs in a copy of the project; of `console` the lines behind `$ ` |
| `yaml`, `json`, `toml` | is parsed |
| `mermaid` | is a flowchart, each line of which is an arrow between two things that have a name |
| `text` | is output: left alone |

Further words in the info string: `file=NAME` also puts the block's text there for the other blocks of its page,
`needs=PROGRAM` skips the block where that program is not installed. Blocks see no `OTEL_*` variable, no API key and no
network but loopback. A `pip install` line is not run again: it must be what `.ci/run` runs, or name extras that exist.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from tests.support.offline import ROOT, execute

README = ROOT / "README.md"
CI = ROOT / ".ci" / "run"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)")
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)")
SETTING = re.compile(r"\bOTEL_AGENT_[A-Z0-9_]*[A-Z0-9]\b")
INSTALL = re.compile(r"pip install '?otel-agent(\[(?P<extras>[a-z,]+)\])?'?")
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".*_cache", ".coverage*", ".hypothesis", "__pycache__", ".venv", "build", "dist"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: `line` is that of its opening fence."""

    page: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.language}"

    def word(self, name: str) -> str | None:
        """Gives what stands behind `name=` in the info string."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")), None)


def blocks(page: str, text: str) -> Iterator[Block]:
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if opening := FENCE.fullmatch(line):
            language, *words = opening["info"].split() or [""]
            inside: list[str] = []
            for _, content in lines:
                if content.strip().startswith(opening["fence"]) and not content.strip(" `~"):
                    break
                inside.append(content.removeprefix(opening["indent"]))
            else:
                raise ValueError(f"{page}:{number}: the block is never closed")
            yield Block(page=page, line=number, language=language, words=tuple(words), text="\n".join(inside) + "\n")


def joined(found: list[Block]) -> list[Block]:
    """Puts each `python continues` behind the python block before it."""
    whole: list[Block] = []
    for block in found:
        if "continues" in block.words:
            first = max(i for i, earlier in enumerate(whole) if earlier.language == "python")
            whole[first] = replace(whole[first], text=f"{whole[first].text}\n{block.text}")
        else:
            whole.append(block)
    return whole


OF_PAGE = {
    page: list(blocks(page, (ROOT / page).read_text("utf-8"))) for page in (str(p.relative_to(ROOT)) for p in PAGES)
}
BLOCKS = [block for page in OF_PAGE.values() for block in joined(page)]


def commands(block: Block) -> list[str]:
    """The lines a shell gets: of a `console` block those behind the prompt."""
    lines = block.text.splitlines()
    return [line[2:] for line in lines if line.startswith("$ ")] if block.language == "console" else lines


def check_install(command: str) -> None:
    """Fails unless the command is a set-up command that `.ci/run` runs, or installs extras that the project has."""
    if command in set_up_commands():
        return
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    match = INSTALL.fullmatch(command)
    assert match, f"{command!r} is neither run by .ci/run nor an installation of otel-agent"
    assert set((match["extras"] or "demo").split(",")) <= set(extras), command


def set_up_commands() -> list[str]:
    """The README's lines that `.ci/run` takes from it, by the same rule: the one line that installs the extra."""
    extras = re.findall(r"readme_command (\w+)", CI.read_text("utf-8"))
    found = [
        [line for line in README.read_text("utf-8").splitlines() if f"pip install -e '.[{extra}]'" in line]
        for extra in dict.fromkeys(extras)
    ]
    assert all(len(lines) == 1 for lines in found), found
    return [lines[0] for lines in found]


def run_python(block: Block, folder: Path) -> None:
    script = folder / f"line_{block.line}.py"
    script.write_text(block.text, "utf-8")
    execute([sys.executable, "-W", "error", str(script)], folder)


def run_shell(block: Block, folder: Path) -> None:
    installs = [line for line in commands(block) if line.startswith("pip install")]
    for command in installs:
        check_install(command)
    rest = [line for line in commands(block) if line not in installs]
    if any(line.strip() for line in rest):
        shutil.copytree(ROOT, folder, ignore=NOT_COPIED, dirs_exist_ok=True)
        execute(["bash", "-euo", "pipefail", "-c", "\n".join(rest)], folder)


def parse(with_what: Callable[[str], object]) -> Callable[[Block, Path], None]:
    return lambda block, _: with_what(block.text) and None


THING = r"(\w+)(?:\[[^\[\]{}|]+\]|\{[^\[\]{}|]+\})?"
ARROW = re.compile(rf" +{THING} -->(?:\|[^|]+\|)? {THING}")


def parse_flowchart(text: str) -> None:
    """Fails unless each line is an arrow in the few forms that we use, and each thing in it is written out once."""
    first, *lines = text.splitlines()
    assert first in ("flowchart LR", "flowchart TD"), first
    arrows = [ARROW.fullmatch(line) for line in lines]
    assert all(arrows), [line for line, arrow in zip(lines, arrows, strict=True) if not arrow]
    ends = [end for arrow in arrows if arrow for end in arrow.groups()]
    named = re.findall(r"(\w+)(?=[\[{])", text)
    assert sorted(named) == sorted(set(ends)), "each thing has its words once"


HANDLERS: dict[str, Callable[[Block, Path], None]] = {
    "python": run_python,
    "bash": run_shell,
    "console": run_shell,
    "yaml": parse(yaml.safe_load),
    "json": parse(json.loads),
    "toml": parse(tomllib.loads),
    "mermaid": parse(parse_flowchart),
    "text": lambda block, folder: None,
}


def handle(block: Block, folder: Path) -> None:
    assert block.language in HANDLERS, f"{block}: no rule for this language; add one to tests/test_readme.py"
    needed = block.word("needs")
    if needed and not shutil.which(needed):
        pytest.skip(f"{needed} is not installed")
    for other in OF_PAGE.get(block.page, ()):
        if name := other.word("file"):
            (folder / name).write_text(other.text, "utf-8")
    HANDLERS[block.language](block, folder)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_works(block: Block, tmp_path: Path) -> None:
    handle(block, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = {match["target"] for match in LINK.finditer(page.read_text("utf-8"))}
    dead = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not dead


def test_ci_runs_the_two_set_up_commands() -> None:
    assert set_up_commands() == ["pip install -e '.[dev]' && pytest", "pip install -e '.[demo]' && otel-agent demo"]
    in_blocks = [line for block in OF_PAGE["README.md"] if block.language == "bash" for line in commands(block)]
    assert set(set_up_commands()) <= set(in_blocks)


def test_readme_names_every_setting_and_no_other() -> None:
    named = set(SETTING.findall(README.read_text("utf-8")))
    package = [path for path in (ROOT / "otel_agent").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    read = {path: set(SETTING.findall(path.read_text("utf-8", "replace"))) for path in package}
    ours = {path: found for path, found in read.items() if path.suffix == ".py"}
    settings = set[str]().union(*(found for path, found in ours.items() if not {"deploy", "stack"} & set(path.parts)))
    assert settings <= named, f"not in README.md: {sorted(settings - named)}"
    of_collector = set[str]().union(*ours.values()) - settings
    documented = set(SETTING.findall((ROOT / "docs" / "collector.md").read_text("utf-8")))
    assert of_collector <= documented, f"not in docs/collector.md: {sorted(of_collector - documented)}"
    assert named <= set[str]().union(*read.values()), "README.md names a setting that nothing reads"


def page(text: str) -> list[Block]:
    return joined(list(blocks("page.md", textwrap.dedent(text))))


def test_continues_shares_the_names_of_the_block_before(tmp_path: Path) -> None:
    (block,) = page("""
        ```python
        x = 1
        ```
        - in a list
          ~~~python continues
          assert x == 1
          ~~~
    """)
    handle(block, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert False\n```",
        "```python\nimport warnings\nwarnings.warn('x')\n```",
        "```python\nimport socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)\n```",
        "```bash\nfalse\ntrue\n```",
        "```console\n$ false\nwhat it printed\n```",
        "```bash\npip install something-else\n```",
        "```bash\npip install 'otel-agent[nothing]'\n```",
        "```json\n{\n```",
        "```yaml\na: [\n```",
        "```toml\na\n```",
        "```mermaid\nflowchart LR\n    a[one] -> b[two]\n```",
        "```mermaid\nflowchart LR\n    a[one] --> b\n```",
        "```mermaid\npie\n```",
        "```perl\n1\n```",
        "```\nno language\n```",
    ],
)
def test_a_block_that_does_not_work_fails(text: str, tmp_path: Path) -> None:
    (block,) = page(text)
    with pytest.raises((AssertionError, ValueError, yaml.YAMLError)):
        handle(block, tmp_path)


def test_a_block_that_is_never_closed_fails() -> None:
    with pytest.raises(ValueError, match="never closed"):
        page("```python\nx = 1\n")


def test_a_block_that_needs_what_is_not_there_is_skipped_with_a_reason(tmp_path: Path) -> None:
    (block,) = page("```bash needs=no-such-program\nno-such-program\n```")
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        handle(block, tmp_path)


def test_a_file_is_there_for_the_other_blocks_of_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = page("""
        ```yaml file=settings.yaml
        a: 1
        ```
        ```bash
        grep -q 'a: 1' settings.yaml
        ```
    """)
    monkeypatch.setitem(OF_PAGE, "page.md", found)
    handle(found[1], tmp_path)
