"""Types: mypy --strict and pyright over the package and over what a user writes; the stub says what is there."""
import json
import subprocess
import sys
import textwrap

import pytest

import toolchain as t

PACKAGE = t.ROOT / "bindings" / "python"

USER = """
    import asyncio
    from typing import List, Optional

    import rlimit
    from rlimit import Limiter, ManualClock, Permit, adaptive, calendar_month, parse, per_day, per_minute, ramp

    claude = Limiter(requests=[per_minute(50), per_day(5000)], input_tokens=per_minute(80_000), microdollars=calendar_month(50_000_000),
                     concurrency=adaptive(4, 64), ramp=ramp(), provider="anthropic", clock=ManualClock(), name="claude")

    async def ask(prompts: List[str]) -> float:
        async with claude.acquire(input_tokens=1_200, output_tokens=400, priority="high", timeout=30) as permit:
            permit.settle(input_tokens=len(prompts))
        waiting: Permit = await claude.acquire()
        waiting.cancel()
        return waiting.waited

    def ask_now() -> Optional[Permit]:
        with claude.acquire() as permit:
            cost: int = permit.cost["requests"]
        answer = parse(429, {"retry-after": "7"}, b"", provider="openai")
        claude.observe(answer.feedback, permit)
        wait: Optional[float] = answer.wait
        found = claude.check(requests=cost)
        print(found.available, found.wait, found.binding, wait, claude.status().limits[0].remaining)
        return claude.try_acquire(input_tokens=5)

    try:
        asyncio.run(ask([]))
    except (rlimit.AcquireTimeout, rlimit.QueueFull, rlimit.NeverAdmitted) as error:
        print(error.meter)
"""
WRONG = [('Limiter(requests=50)', "arg-type"), ('Limiter(tokenz=rlimit.per_minute(5))', "call-arg"), ('rlimit.per_minute("5")', "arg-type"),
         ('claude.acquire(5)', "misc"), ('claude.try_acquire().settle()',
          "union-attr"), ('claude.acquire(timeout="5")', "arg-type"), ('claude.acquire(priority="urgent")', "arg-type"),
         ('rlimit.per_minute(5).amount = 6', "misc")]


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    path = tmp_path_factory.mktemp("types") / "user.py"
    path.write_text(textwrap.dedent(USER))
    return path


def mypy(*arguments):
    pytest.importorskip("mypy")
    folder = t.BUILD / "mypy"
    return subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder), *map(str, arguments)], capture_output=True, text=True,
                          timeout=600, cwd=str(PACKAGE))


def test_mypy():
    done = mypy("-p", "rlimit")
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_of_a_user(user):
    done = mypy(user)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_finds_mistakes(user, tmp_path):
    path = tmp_path / "wrong.py"
    text = user.read_text()
    first = text.count("\n") + 1
    path.write_text(text + "".join(line + "\n" for line, _ in WRONG))
    done = mypy(path)
    for index, (line, code) in enumerate(WRONG):
        assert any(":%d: error" % (first + index) in said for said in done.stdout.splitlines()
                   ), "%s: not found\n%s" % (line, done.stdout)


def pyright(*paths):
    """The errors that it finds, each with its file and line."""
    pytest.importorskip("pyright")
    done = subprocess.run([sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, paths)], capture_output=True, text=True,
                          timeout=600, cwd=str(t.ROOT))
    if "generalDiagnostics" not in done.stdout:
        t.absent("pyright does not run here: %s" % (done.stdout + done.stderr)[-300:])
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] >= len(paths), done.stdout
    return ["%s:%d: %s" % (one["file"], one["range"]["start"]["line"] + 1, one["message"]) for one in said["generalDiagnostics"]
            if one["severity"] == "error"]


def test_pyright(user, tmp_path):
    errors = pyright(PACKAGE / "rlimit", user)
    assert not errors, "\n".join(errors)


def test_pyright_finds_mistakes(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(
    "import rlimit\nfrom rlimit import Limiter\nclaude = rlimit.Limiter(requests=rlimit.per_minute(5))\n" +
    "".join(
        line +
        "\n" for line,
         _ in WRONG))
    errors = pyright(path)
    for index, (line, _) in enumerate(WRONG):
        assert any("wrong.py:%d:" % (index + 4) in error for error in errors), "%s: not found\n%s" % (line, "\n".join(errors))


def test_the_stub_is_true():
    """Names, arguments and defaults in _rlimit.pyi are those of the extension."""
    pytest.importorskip("mypy")
    allowed = t.BUILD / "stubtest-allowed.txt"
    allowed.parent.mkdir(parents=True, exist_ok=True)
    allowed.write_text(r"rlimit\._rlimit\.(Limiter|Acquire|Permit|Bucket|Window|Concurrency|Calendar|Route|Feedback|Reading|Response|Queue|Delays|BackoffPlan"
                       r"|RetryBudget|ManualClock)\.(__init__|__new__|__reduce__|__await__|__aenter__|__aexit__|__enter__|__exit__)" "\n"
                       r"rlimit\._rlimit\.Check(\..*)?" "\n" r"rlimit\._rlimit\.(Acquire|Done)(\.__(iter|next)__)?" "\n" r"rlimit\._rlimit\.__all__" "\n"
                       r"rlimit\._rlimit\.(Limiter|ManualClock)" "\n")  # the mark for a base in C is not known to older checkers
    done = subprocess.run([sys.executable, "-m", "mypy.stubtest", "rlimit._rlimit", "--allowlist", str(allowed), "--ignore-unused-allowlist"], capture_output=True,
                          text=True, timeout=600, cwd=str(PACKAGE))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
