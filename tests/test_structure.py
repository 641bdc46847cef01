"""The rules of the house that no type checker and no linter can hold, checked on the source.

Each rule is a function from a module to its offences; `test_rule_bites` shows each of them an offender.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import otel_agent

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "otel_agent"

SDK_ROOMS = {"telemetry", "testing"}
RULE_ROOMS = {"budget", "checks", "hashing", "policy", "pricing", "prompts", "redaction", "responses", "stop", "usage"}
NOT_IN_RULES = {"opentelemetry", "os", "pathlib", "redis", "socket", "sqlite3", "time", "yaml"}
PRINTING_ROOMS = {"cli", "demo", "views"}
NOT_AT_IMPORT = {"anthropic", "click", "genai_prices", "grpc", "openai", "pydantic", "redis", "rich", "yaml"}
VOCABULARY = re.compile(r"(gen_ai|otel_agent)\.[a-z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module of the package: its dotted name and its syntax tree."""

    name: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The file or folder right under the package; empty for the package itself."""
        return self.name.partition(".")[2].partition(".")[0]

    @property
    def public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))


def parse(path: Path) -> Module:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return Module(name=".".join(parts).removesuffix(".__init__"), tree=ast.parse(path.read_text("utf-8")))


MODULES = [parse(path) for path in sorted(PACKAGE.rglob("*.py"))]

Rule = Callable[[Module], Iterator[str]]


def imports(module: Module) -> Iterator[str]:
    """Every module that is imported anywhere in the file, also inside functions; `from a import b` gives `a.b`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sdk_stays_in_its_rooms(module: Module) -> Iterator[str]:
    if module.room not in SDK_ROOMS:
        yield from (name for name in imports(module) if f"{name}.".startswith("opentelemetry.sdk."))


def rules_touch_no_world(module: Module) -> Iterator[str]:
    if module.room in RULE_ROOMS:
        yield from (name for name in imports(module) if name.partition(".")[0] in NOT_IN_RULES)


def only_semconv_spells_names(module: Module) -> Iterator[str]:
    if module.room == "semconv":
        return
    exempt = {id(node) for node in (*docstrings(module.tree), *module_paths(module.tree))}
    for node in ast.walk(module.tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in exempt else None
        if isinstance(text, str) and VOCABULARY.match(text):
            yield f"line {node.lineno}: {text!r}"


def docstrings(tree: ast.AST) -> Iterator[ast.expr]:
    """Every string that stands alone as a statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def module_paths(tree: ast.AST) -> Iterator[ast.expr]:
    """The arguments of calls that take the name of a module, and the places of commands that are imported late."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in {"files", "getLogger", "import_module"}:
            yield from node.args
        if isinstance(node, ast.keyword) and node.arg == "places" and isinstance(node.value, ast.Dict):
            yield from node.value.values


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def says_what_it_is(module: Module) -> Iterator[str]:
    if module.public and not ast.get_docstring(module.tree):
        yield "no docstring"


def lists_its_names(module: Module) -> Iterator[str]:
    # Of the vocabulary every name is public.
    only_docstring = len(module.tree.body) <= 1
    if not module.public or module.room == "semconv" or only_docstring:
        return
    targets = (target for node in module.tree.body if isinstance(node, ast.Assign) for target in node.targets)
    if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
        yield "no __all__"


def swallows_nothing_silently(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and all(is_nothing(statement) for statement in node.body):
            yield f"line {node.lineno}: except without a word"


def is_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def prints_only_where_people_look(module: Module) -> Iterator[str]:
    if module.room not in PRINTING_ROOMS:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield f"line {node.lineno}: print"


OFFENDERS: dict[Rule, tuple[str, str]] = {
    sdk_stays_in_its_rooms: ("run", "def late():\n    from opentelemetry.sdk import trace"),
    rules_touch_no_world: ("budget", "from time import monotonic"),
    only_semconv_spells_names: ("run", "span.set(f'otel_agent.budget.{x}', 1)"),
    says_what_it_is: ("run", "__all__ = []"),
    lists_its_names: ("run", "'What it is.'\nx = 1"),
    swallows_nothing_silently: ("run", "try: f()\nexcept ValueError: pass"),
    prints_only_where_people_look: ("run", "print('here')"),
}
by_name = pytest.mark.parametrize("rule", OFFENDERS, ids=lambda rule: rule.__name__)


@by_name
def test_rule_is_kept(rule: Rule) -> None:
    offences = [f"{module.name}: {offence}" for module in MODULES for offence in rule(module)]
    assert not offences, "\n".join(offences)


@by_name
def test_rule_bites(rule: Rule) -> None:
    room, source = OFFENDERS[rule]
    assert list(rule(Module(name=f"otel_agent.{room}", tree=ast.parse(source))))


def test_vocabulary_may_stand_in_docstrings_and_module_paths() -> None:
    lines = (
        '"""Sets gen_ai.agent.name."""',
        'import_module("otel_agent.cli")',
        'logger = getLogger("otel_agent.run")',
        'group(places={"check": "otel_agent.cli.check:check"})',
    )
    source = "\n".join(lines)
    assert not list(only_semconv_spells_names(Module(name="otel_agent.run", tree=ast.parse(source))))


def test_import_loads_nothing_heavy() -> None:
    loaded = fresh_interpreter("import sys, otel_agent; print(*sys.modules)").split()
    assert "otel_agent" in loaded
    assert not {name.partition(".")[0] for name in loaded} & NOT_AT_IMPORT
    assert not [name for name in loaded if name.startswith(("opentelemetry.exporter", "opentelemetry.instrumentation"))]


def test_import_does_nothing() -> None:
    """No thread, no handler, no provider: that is for configure() and the first run."""
    assert fresh_interpreter(
        "import signal, threading\n"
        "before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), threading.Thread.start\n"
        "import otel_agent\n"
        "after = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), threading.Thread.start\n"
        "from opentelemetry import trace\n"
        "print(before == after, threading.active_count(), trace._TRACER_PROVIDER)"
    ).split() == ["True", "1", "None"]


def fresh_interpreter(source: str) -> str:
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert otel_agent.__version__ == project["version"]
