"""The house rules of CONTRIBUTING.md that no other tool holds."""

from __future__ import annotations

import ast
import gc
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import pytest

import bento
from bento import errors

Node = TypeVar("Node", bound=ast.AST)
REPOSITORY = Path(__file__).parents[2]
SOURCE = Path(bento.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in MODULES]

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_MODULES_OF_A_ROOM = 20

# Which modules may do what; all others may not.
FUNCTION_IMPORTS = {
    "__init__.py",  # the library's names are loaded when first used
    "__main__.py",  # sets up the interpreter before anything is imported
    "cli/main.py",  # and so are the verbs
    "config_load.py",  # only a command with a configuration file pays for its parser
    "zygote/client.py",  # decides which of two programs this is
    "zygote/handover.py",  # loads while the command is carried out elsewhere
}
BARE = {"zygote/client.py", "zygote/handover.py"}
"""They load no module whatever that need not be, be it __future__."""
EVALUATED = {f"model/{name}.py" for name in ("container", "health", "image", "network", "resources", "stop")}
"""What every record of a container has: msgspec would compile their annotations anew in each process, for 2 ms."""
CATCH_ALL = {
    "cli/main.py",  # the outer edges: the program,
    "engine/base/worker.py",  # and its forked worker
    "kernel/namespace.py",  # hands over from a thread to its waiter
    "engine/base/background.py",  # the same
    "api_cri/server.py",  # a call
    "api_docker/server.py",  # a request
    "streaming/server.py",  # a session
    "zygote/child.py",  # a command, as the program
}
FORKS = {
    "engine/base/worker.py",  # a detached worker is this program itself, still single-threaded
    "cli/containers/after_exit.py",
    "serve/worker.py",  # which is there for that
    "zygote/process.py",  # and so is this one
    "drivers/tracer/process.py",  # the tracer is there at once, with all of its modules loaded
}
QUIET = {"quiet_threads.py", "kernel/namespace.py", "testing/drivers.py"}
ONLY_IN = {
    "ctypes": {"kernel/libc.py"},
    "sqlite3": {"drivers/state/", "testing/state.py"},
    "subprocess": set(),
    "multiprocessing": set(),
    "asyncio": {"api_cri/", "api_docker/", "serve/", "serving/", "streaming/"},
    "dataclasses": set(),
    "inspect": set(),
}
STARTS_PROCESSES = {"posix_spawn", "posix_spawnp", "fork", "forkpty", "system", "popen", "spawnv", "spawnve", "spawnvp"}


def of_every_module(rule: Callable[[Path], None]) -> Callable[[], None]:
    """Make one test of a rule, which names each module that breaks it: a test for each would be thousands."""

    def test() -> None:
        broken = []
        for path, name in zip(MODULES, NAMES, strict=True):
            try:
                rule(path)
            except AssertionError as error:
                broken.append(f"{name}: {error}")
        assert not broken, "\n".join(broken)

    return test


@pytest.fixture(scope="module", autouse=True)
def _read_once() -> Iterator[None]:
    """Keep the trees of all modules to the end of these tests: millions of objects, which are in no circle."""
    gc.disable()
    yield
    _nodes.cache_clear()
    _tree.cache_clear()
    gc.enable()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _nodes(path: Path) -> dict[type[ast.AST], list[ast.AST]]:
    """Every node of a module, by its kind: a walk through all modules takes a second, and each rule would make one."""
    found: dict[type[ast.AST], list[ast.AST]] = {}
    left: list[ast.AST] = [_tree(path)]
    while left:
        node = left.pop()
        found.setdefault(type(node), []).append(node)
        for value in vars(node).values():
            if isinstance(value, list):
                left += [one for one in value if isinstance(one, ast.AST)]
            elif isinstance(value, ast.AST):
                left.append(value)
    return found


def _all(path: Path, kind: type[Node]) -> list[Node]:
    return cast("list[Node]", _nodes(path).get(kind, []))


def _imports(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    for plain in _all(path, ast.Import):
        for alias in plain.names:
            yield plain, alias.name
    for child in _all(path, ast.ImportFrom):
        yield child, child.module or ""
        for alias in child.names:
            yield child, f"{child.module}.{alias.name}"


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _body_lines(function: ast.FunctionDef) -> int:
    """Lines without the docstring: explaining is not what makes a function long."""
    first = function.body[0]
    docstring = _end(first) - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return _end(function) - function.lineno + 1 - docstring


def _is_allowed(name: str, places: set[str]) -> bool:
    return any(name == place or (place.endswith("/") and name.startswith(place)) for place in places)


@of_every_module
def test_module_is_short_documented_and_lazy_about_annotations(path):
    text = path.read_text(encoding="utf-8")
    tree = _tree(path)
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    assert ast.get_docstring(tree), "a module says what it is for"
    is_bare = str(path.relative_to(SOURCE)) in BARE | EVALUATED
    if len(tree.body) > 1 and path.name not in ("__init__.py", "__main__.py"):
        assert ("from __future__ import annotations" in text) is not is_bare


@of_every_module
def test_functions_are_short(path):
    too_long = {f.name: _body_lines(f) for f in _all(path, ast.FunctionDef) if _body_lines(f) > MAX_FUNCTION_LINES}
    assert not too_long


@of_every_module
def test_imports_stand_at_the_top(path):
    hidden = [
        f"{function.name} imports {name}"
        for statement, name in _imports(path)
        for function in _all(path, ast.FunctionDef)
        if function.lineno <= statement.lineno <= _end(function)
    ]
    assert not hidden or str(path.relative_to(SOURCE)) in FUNCTION_IMPORTS


@of_every_module
def test_dangerous_modules_have_one_home_each(path):
    name = str(path.relative_to(SOURCE))
    strays = {
        imported
        for _, imported in _imports(path)
        for top, homes in ONLY_IN.items()
        if imported.partition(".")[0] == top and not _is_allowed(name, homes)
    }
    assert not strays


@pytest.mark.parametrize(
    "room", sorted({path.parent for path in MODULES}), ids=lambda room: str(room.relative_to(SOURCE))
)
def test_a_room_has_few_modules(room):
    assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) <= MAX_MODULES_OF_A_ROOM


@of_every_module
def test_only_command_starts_processes(path):
    calls = {
        node.attr
        for node in _all(path, ast.Attribute)
        if node.attr in STARTS_PROCESSES and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    name = str(path.relative_to(SOURCE))
    assert name == "command.py" or not calls - ({"fork"} if name in FORKS else set())


@of_every_module
def test_threads_leave_signals_to_the_main_one(path):
    name = str(path.relative_to(SOURCE))
    made = {f"{node.value.id}.{node.attr}" for node in _all(path, ast.Attribute) if isinstance(node.value, ast.Name)}
    assert name in QUIET or made.isdisjoint(("threading.Thread", "_thread.start_new_thread"))
    pools = [call for call in _all(path, ast.Call) if getattr(call.func, "id", "") == "ThreadPoolExecutor"]
    assert all("initializer" in {word.arg for word in call.keywords} for call in pools)


@of_every_module
def test_only_wiring_names_concrete_drivers(path):
    """Others know the promise in ``base``; a driver knows its own family. The fakes are no part of the product."""
    own = path.relative_to(SOURCE).parts
    family = own[1] if own[0] == "drivers" and len(own) > 2 else ""
    named = {
        name
        for _, name in _imports(path)
        if (match := re.match(r"bento\.drivers\.(\w+)\.(\w+)", name)) and match[2] != "base" and match[1] != family
    }
    assert not named or own == ("wiring.py",) or own[0] == "testing"


@of_every_module
def test_nothing_swallows_every_exception(path):
    def is_blanket(kind: ast.expr | None) -> bool:
        kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
        return any(k is None or (isinstance(k, ast.Name) and k.id in ("Exception", "BaseException")) for k in kinds)

    def passes_on(handler: ast.ExceptHandler) -> bool:
        # Tidying up and raising again swallows nothing.
        return any(isinstance(node, ast.Raise) for node in ast.walk(handler))

    blanket = [node.lineno for node in _all(path, ast.ExceptHandler) if is_blanket(node.type) and not passes_on(node)]
    assert not blanket or str(path.relative_to(SOURCE)) in CATCH_ALL


@of_every_module
def test_nothing_is_left_for_later(path):
    assert not re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", path.read_text(encoding="utf-8"))


def _all_errors(root: type[errors.BentoError] = errors.BentoError) -> list[type[errors.BentoError]]:
    return [root, *(found for child in root.__subclasses__() for found in _all_errors(child))]


def test_every_error_has_its_code_and_its_statuses():
    classes = _all_errors()
    codes = [cls.code for cls in classes]
    assert len(set(codes)) == len(codes)
    for cls in classes:
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", cls.code), cls
        assert cls.exit_code in (1, 2, 4, 125, 126, 127), cls
        assert 400 <= cls.http_status <= 599 or cls.http_status == 304, cls  # 304: nothing to do, as Docker says it
        assert cls.__doc__, cls


def test_test_names_cite_rules_that_exist():
    """``test_s07_...`` proves rule S7 of the stop contract, which has S0 to S29."""
    wrong = []
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        for name in re.findall(r"def (test_s\d\w*)", path.read_text(encoding="utf-8")):
            match = re.match(r"test_s(\d\d)a?_", name)
            if not match or not 0 <= int(match[1]) <= 31:
                wrong.append(f"{path.name}: {name}")
    assert not wrong


def _tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("kernel: not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


def test_no_file_names_a_package_index():
    # Put together here, so that this file does not name one either.
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("files", "pythonhosted", "org"))]
    words = [*hosts, "--index" + "-url", "--find" + "-links", "--trusted" + "-host"]
    harmless = {REPOSITORY / "tools/pin-requirements"}  # switches them off
    named = [
        f"{path.relative_to(REPOSITORY)}: {word}"
        for path in _tracked_files()
        for word in words
        if path not in harmless and word.encode() in path.read_bytes()
    ]
    assert not named


def test_every_requirement_is_pinned_by_hash():
    for path in (REPOSITORY / "requirements").glob("*.txt"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "==" in line]
        assert lines
        assert all(line.endswith("\\") for line in lines), path
