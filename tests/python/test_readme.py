"""What README.md shows of Python is Python, and the names in it are there."""
import importlib
import re
import subprocess
import sys

import pytest

import toolchain as t
from sdk_referee import referee  # noqa: F401

TEXT = (t.ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_block(index, monkeypatch, referee):
    """Runs as it stands, against the limits that it names."""
    relay = referee(rpm=50, itpm=80_000, otpm=16_000, concurrency=10)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", relay.url)
    code = compile(BLOCKS[index], "README.md", "exec")
    exec(code, {"__name__": "readme"})
    total = relay.total
    assert sum(total["refused"].values()) == 0
    assert total["completed"] == total["received"] == (40 if "gather" in BLOCKS[index] else 0)


def test_there_are_blocks():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\brlimit\.((?:\w+\.)?\w+)\(", TEXT))))
def test_name(name):
    value = importlib.import_module("rlimit")
    for part in name.split("."):
        value = getattr(value, part)
    assert callable(value)


def test_help_needs_no_library():
    """help(rlimit) looks at all that is listed: what cannot be imported is not."""
    program = """
import importlib.util, pydoc
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "langchain_core" else find(name, *rest)
import rlimit
assert "langchain" not in dir(rlimit) and "openai" in dir(rlimit)
assert "per_minute" in pydoc.render_doc(rlimit)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
