#!/bin/sh
# setup.sh demo|test|bench|evidence - installs what `make demo` and the others of these names need and is not there: system packages by apt
# (as root or through sudo), Python packages in build/venv, Node packages in the node_modules of examples/, tests/ and bench/.
# Once all is there it does nothing, and needs no network. Where it may not install, it names what is missing; only what is
# indispensable stops it.
set -eu
cd "$(dirname "$0")/.."
what=${1:?usage: setup.sh demo|test|bench|evidence}

missing= extra=
have() { command -v "$1" >/dev/null 2>&1; }
need() { missing="$missing $*"; }
want() { extra="$extra $*"; }

compiles() { # compiles OPTIONS...: does a program of one include compile and link?
    program=$1; shift
    scratch=$(mktemp -d)
    printf '%s\nint main(void) { return 0; }\n' "$program" > "$scratch/try.c"
    "$@" "$scratch/try.c" -o "$scratch/try" >/dev/null 2>&1 && result=0 || result=1
    rm -rf "$scratch"
    return $result
}

have make || need make
have cc || have gcc || need gcc libc6-dev
have pkg-config || need pkg-config
have pkg-config && pkg-config --exists libcurl || need libcurl4-openssl-dev
have pkg-config && pkg-config --exists jansson || need libjansson-dev
have python3 || need python3
python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || need python3-venv
python3 -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' >/dev/null 2>&1 || need python3-dev

node_is_there() { # 18 or later, with npm and the headers of its add-ons
    have node && have npm && node -e '
        const { existsSync } = require("fs"), { dirname, join } = require("path");
        const header = join(dirname(dirname(process.execPath)), "include", "node", "node_api.h");
        process.exit(Number(process.versions.node.split(".")[0]) >= 18 && existsSync(header) ? 0 : 1)' 2>/dev/null
}

tools() { # what the tests use beside that: the lines that are missing
    have gcc && have g++ || want gcc g++
    have clang && have clang++ || want clang
    if have clang; then
        compiles '' clang -fsanitize=address || want "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
    fi
    if have gcc; then
        compiles '#include <stdio.h>' gcc -m32 || want libc6-dev-i386 "lib32gcc-$(gcc -dumpversion | cut -d. -f1)-dev"
    fi
    have cmake || want cmake
    compiles '#include <stdio.h>' aarch64-linux-gnu-gcc -static || want gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    compiles '#include <stdio.h>' s390x-linux-gnu-gcc -static || want gcc-s390x-linux-gnu libc6-dev-s390x-cross
    compiles '#include <stdio.h>' riscv64-linux-gnu-gcc -static || want gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
    have qemu-s390x || have qemu-s390x-static || want qemu-user
    node_is_there || want nodejs npm libnode-dev
    have x86_64-w64-mingw32-gcc || want gcc-mingw-w64-x86-64
    have wine64 || have wine || [ -x /usr/lib/wine/wine64 ] || want wine64
    have arm-none-eabi-gcc || want gcc-arm-none-eabi
}

provers() { # what `make evidence` uses beside the tests' tools
    have clang-19 && have llvm-cov-19 || want clang-19 llvm-19 libclang-rt-19-dev
    have afl-fuzz || want afl++
    have frama-c || want frama-c-base
    have why3 || want why3
    have z3 || want z3
    have cvc4 || want cvc4
}

apt() { # apt PACKAGES...: may fail
    if [ "$(id -u)" = 0 ]; then as=; elif have sudo && sudo -n true 2>/dev/null; then as=sudo; else return 1; fi
    have apt-get || return 1
    echo "installing:$*"
    $as env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    $as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if [ -n "$missing" ]; then
    apt $missing || { echo "missing, and not allowed to install:$missing" >&2; exit 1; }
fi
if [ "$what" = demo ] || [ "$what" = bench ]; then
    node_is_there || apt nodejs npm libnode-dev || echo "missing, its part is skipped: node 18 or later with npm and its headers" >&2
else
    for round in 1 2; do # the second for what depends on the version of what the first installed
        extra=; tools
        [ "$what" = test ] || provers
        [ -n "$extra" ] || break
        apt $extra || { echo "missing, their tests are skipped:$extra" >&2; break; }
    done
fi

case $what in
demo) requirements=examples/python/requirements.txt ;;
bench) requirements=bench/requirements.txt ;;
evidence) requirements="tests/requirements.txt bench/requirements.txt" ;;
*) requirements=tests/requirements.txt ;;
esac
python=build/venv/bin/python
mkdir -p build
[ -x $python ] && $python -c '' 2>/dev/null || { rm -rf build/venv; python3 -m venv build/venv; }
wanted=$(cat tests/relay/requirements.txt examples/python/requirements.txt $requirements | cksum)
[ "$(cat build/venv/.$what 2>/dev/null)" = "$wanted" ] || {
    $python -m pip install --quiet --disable-pip-version-check $(printf -- '-r %s ' $requirements)
    echo "$wanted" > build/venv/.$what
}

packages() { # packages FOLDER: what its package.json names
    wanted=$(cksum < "$1/package.json")
    [ "$(cat "$1/node_modules/.rlimit" 2>/dev/null)" = "$wanted" ] && return
    (cd "$1" && npm install --no-package-lock --no-audit --no-fund --loglevel=error) || { echo "not installed, its part is skipped: $1" >&2; return; }
    echo "$wanted" > "$1/node_modules/.rlimit"
}
if node_is_there; then
    packages examples/node
    case $what in test | evidence) packages tests/node ;; esac
    case $what in bench | evidence) packages bench/node ;; esac
fi
