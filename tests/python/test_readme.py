"""What README.md shows of Python is Python, and the names in it are there."""
import ast
import importlib
import re

import pytest

import toolchain as t

TEXT = (t.ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_block(index, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    code = compile(BLOCKS[index], "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    exec(code, {"__name__": "readme"})


def test_there_are_blocks():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\brlimit\.((?:\w+\.)?\w+)\(", TEXT))))
def test_name(name):
    value = importlib.import_module("rlimit")
    for part in name.split("."):
        value = getattr(value, part)
    assert callable(value)
