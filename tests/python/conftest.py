"""The package from this tree, its extension built in place where it is older than its sources."""
import os
import pathlib
import subprocess
import sys
import sysconfig

import toolchain as t

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = t.ROOT / "bindings" / "python"
EXTENSION = PACKAGE / "rlimit" / ("_rlimit" + (sysconfig.get_config_var("EXT_SUFFIX") or ".so"))
SOURCES = [PACKAGE / "_rlimit.c", t.ROOT / "rlimit.h", t.ROOT / "ext" / "rlimit_http.h", t.ROOT / "setup.py"]


def build():
    """RLIMIT_PACKAGE tests a package that is installed instead."""
    t.BUILD.mkdir(parents=True, exist_ok=True)
    with t.locked(t.BUILD / "python-extension.lock"):
        if not EXTENSION.exists() or EXTENSION.stat().st_mtime < max(path.stat().st_mtime for path in SOURCES):
            subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--force"], cwd=t.ROOT, check=True)


sys.path.insert(0, str(HERE))
if not os.environ.get("RLIMIT_PACKAGE"):
    build()
    sys.path.insert(0, str(PACKAGE))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")]))
