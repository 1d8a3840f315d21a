"""Builds the extension; all else is in pyproject.toml. The version is rlimit.h's."""
import pathlib
import re
import sys

from setuptools import Extension, setup

HEADER = pathlib.Path(__file__).with_name("rlimit.h")
version = re.search(r'^#define RLM_VERSION "(.*)"', HEADER.read_text(encoding="utf-8"), re.MULTILINE)
if version is None:
    sys.exit("rlimit.h: no RLM_VERSION")

options = [] if sys.platform == "win32" else ["-std=c11", "-O2", "-fvisibility=hidden"]
setup(version=version.group(1), ext_modules=[Extension(
    "rlimit._rlimit", ["bindings/python/_rlimit.c"], include_dirs=[".", "ext"], depends=["rlimit.h", "ext/rlimit_http.h"],
    extra_compile_args=options)])
