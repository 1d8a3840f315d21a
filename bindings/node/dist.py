"""Builds the add-on for each platform below, and packs the Node package with them: `make dist`.

    python3 bindings/node/dist.py [--out FOLDER] [linux-x64-glibc ...]
    python3 bindings/node/dist.py --tools

One compiler, Zig's, makes them all; each is examined before it is packed. Other platforms build theirs when it is installed.
The same tree and tools give the same bytes: npm dates all files the same, and no binary holds a date or a path of its build.
The tools (requirements-dist.txt, node-api-headers) are installed in build/dist-tools/node once; --tools does that
alone. After that no network is needed. Without Node and its npm nothing is built, and that is said.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build"
TOOLS = BUILD / "dist-tools" / "node"
REQUIREMENTS = HERE / "requirements-dist.txt"
HEADERS = "node-api-headers@1.9.0"
ALWAYS_PACKED = ("package.json", "README.md", "LICENSE")

# Platforms, as load.js names them, and Zig's names for them: with the oldest glibc and macOS that Node 18 runs on.
TARGETS = {
    "linux-x64-glibc": "x86_64-linux-gnu.2.17",
    "linux-x64-musl": "x86_64-linux-musl",
    "linux-arm64-glibc": "aarch64-linux-gnu.2.17",
    "linux-arm64-musl": "aarch64-linux-musl",
    "darwin-x64": "x86_64-macos.11.0",
    "darwin-arm64": "aarch64-macos.11.0",
    "win32-x64": "x86_64-windows-gnu",
    "win32-arm64": "aarch64-windows-gnu",
}
FLAGS = ("-std=c11", "-O2", "-g0", "-s", "-shared", "-fvisibility=hidden", "-I.", "-Iext")
EXPORTS = {"napi_register_module_v1", "node_api_module_get_api_version_v1"}


def run(command, **options):
    """What it printed. If it fails, that ends all."""
    command = [str(part) for part in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise SystemExit("%s\n%s" % (" ".join(command), done.stdout))
    return done.stdout


# -- what there is to build with --

def tools():
    """The Python of a venv with what requirements-dist.txt says, and beside it node-api-headers."""
    python, record = TOOLS / "bin" / "python", TOOLS / "installed"
    wanted = "%s\n%s" % (HEADERS, REQUIREMENTS.read_text())
    if not python.exists() or not record.exists() or record.read_text() != wanted:
        shutil.rmtree(TOOLS, ignore_errors=True)
        run([sys.executable, "-m", "venv", TOOLS])
        run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", REQUIREMENTS])
        run([shutil.which("npm"), "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund",
             "--prefix", TOOLS, HEADERS])
        record.write_text(wanted)
    return python


def headers():
    return TOOLS / "node_modules" / "node-api-headers"


def node_api():
    """The names of all functions of Node-API 8, which addon.c asks for and Node 18 has."""
    program = "const { v8 } = require(process.argv[1]); console.log(JSON.stringify(Object.values(v8).flat()))"
    return set(json.loads(run([shutil.which("node"), "-e", program, headers() / "symbols.js"])))


def zig(*arguments):
    caches = {name: str(TOOLS / "cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    run([sys.executable, "-m", "ziglang", *arguments], cwd=ROOT, env=dict(os.environ, **caches))


# -- building --

def compile_addon(platform, folder):
    """The path of its add-on. What Node has is found when it is loaded; Windows wants to be told where."""
    path = folder / platform / "rlimit.node"
    path.parent.mkdir(parents=True)
    options = ["-target", TARGETS[platform], *FLAGS, "-I", headers() / "include", HERE.relative_to(ROOT) / "addon.c"]
    if platform.startswith("win32"):
        names, library = path.with_name("node.def"), path.with_name("node.lib")
        names.write_text("\n".join(["NAME node.exe", "EXPORTS", *sorted(node_api()), ""]))
        machine = "arm64" if platform.endswith("arm64") else "i386:x86-64"
        zig("dlltool", "-m", machine, "-D", "node.exe", "-d", names, "-l", library)
        options.append(library)
    else:
        options.append("-fPIC")
    if platform.startswith("darwin"):
        options += ["-Wl,-undefined,dynamic_lookup", "-Wl,-install_name,rlimit.node"]
    zig("cc", *options, "-o", path)
    return path


def stage(folder, binaries):
    """Lays out in folder what is packed: the files that package.json names, and binaries, {platform: path}, as prebuilds.

    Never those in the tree's own prebuilds/, if somebody made it."""
    wanted = [name for name in json.loads((ROOT / "package.json").read_text())["files"] if name != "prebuilds"]
    for name in (*ALWAYS_PACKED, *wanted):
        found = sorted(ROOT.glob(name))
        if not found:
            raise SystemExit("package.json: files: there is no " + name)
        for path in found:
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
    for platform, path in binaries.items():
        target = folder / "prebuilds" / platform / "rlimit.node"
        target.parent.mkdir(parents=True)
        shutil.copyfile(path, target)


def pack(folder, out):
    """The path of the tarball of what was staged in folder."""
    out.mkdir(parents=True, exist_ok=True)
    run([shutil.which("npm"), "pack", "--ignore-scripts", "--offline", "--pack-destination", out], cwd=folder,
        env=dict(os.environ, npm_config_update_notifier="false"))
    return next(out.glob("rlimit-*.tgz"))


# -- examining --

def elf_faults(lief, binary, platform, api):
    """Of the right processor, little-endian; needs libc alone, of 2.17 at most; everything else is Node's."""
    yield from differs("processor", binary.header.machine_type.name, "AARCH64" if "arm64" in platform else "X86_64")
    yield from differs("byte order", binary.header.identity_data.name, "LSB")
    yield from differs("needs", list(binary.libraries), ["libc.so.6" if platform.endswith("glibc") else "libc.so"])
    if any(binary.has(tag) for tag in (lief.ELF.DynamicEntry.TAG.RPATH, lief.ELF.DynamicEntry.TAG.RUNPATH)):
        yield "has a run path"
    versions = {version.name for need in binary.symbols_version_requirement for version in need.get_auxiliary_symbols()}
    new = [name for name in versions if tuple(map(int, name.split("_")[1].split("."))) > (2, 17)]
    yield from differs("too new", new, [])
    sought = [symbol for symbol in binary.dynamic_symbols if symbol.name and symbol.shndx == 0]
    names = {symbol.name for symbol in sought}
    if platform.endswith("glibc"):
        versioned = {symbol.name for symbol in sought
                     if symbol.symbol_version and symbol.symbol_version.has_auxiliary_version}
        yield from differs("is nobody's", sorted(names - versioned - api), [])
    yield from unknown(names, api)
    yield from differs("exports", {symbol.name for symbol in binary.exported_symbols}, EXPORTS)
    yield from differs("debugging", [section.name for section in binary.sections if "debug" in section.name], [])


def macho_faults(lief, binary, platform, api):
    """Of the right processor, for macOS 11, signed; needs the system's library alone; everything else is Node's."""
    yield from differs("processor", binary.header.cpu_type.name, "ARM64" if "arm64" in platform else "X86_64")
    yield from differs("macOS", list(binary.build_version.minos)[:2], [11, 0])
    libraries = [library.name for library in binary.libraries]
    yield from differs("needs", libraries, ["rlimit.node", "/usr/lib/libSystem.B.dylib"])
    if "arm64" in platform and not binary.has_code_signature:
        yield "is not signed"
    sought = {symbol.name[1:] for symbol in binary.imported_symbols
              if symbol.has_binding_info and symbol.binding_info.library_ordinal < 0}
    yield from differs("is nobody's", sorted(sought - api), [])
    yield from unknown(sought, api)
    exports = {symbol.name[1:] for symbol in binary.exported_symbols} - {"__dso_handle", "_mh_dylib_header"}
    yield from differs("exports", exports, EXPORTS)


def pe_faults(lief, binary, platform, api):
    """Of the right processor; needs Windows' own libraries and node.exe, and of that only what it has."""
    yield from differs("processor", binary.header.machine.name, "ARM64" if "arm64" in platform else "AMD64")
    libraries = {library.name.lower(): library for library in binary.imports}
    windows = ("kernel32.dll", "api-ms-win-crt-")
    foreign = [name for name in libraries if name != "node.exe" and not name.startswith(windows)]
    yield from differs("needs", foreign, [])
    names = {entry.name for entry in libraries["node.exe"].entries} if "node.exe" in libraries else set()
    yield from differs("is nobody's", sorted(names - api), [])
    yield from unknown(names, api)
    yield from differs("exports", {symbol.name for symbol in binary.exported_functions}, EXPORTS)


def differs(what, found, wanted):
    if found != wanted:
        yield "%s: %s, not %s" % (what, found, wanted)


def unknown(names, api):
    """Whatever the format: it calls Node, and only what Node-API 8 has."""
    called = {name for name in names if name.startswith(("napi_", "node_api_"))}
    yield from differs("newer than Node-API 8", sorted(called - api), [])
    if "napi_create_function" not in called:
        yield "does not call Node"


def examine(platform, path, api):
    """Ends all if the file is not what its platform's name says, or tells about the machine that made it."""
    import lief
    lief.logging.disable()
    binary = lief.parse(str(path))
    kinds = {"linux": (lief.ELF.Binary, elf_faults), "darwin": (lief.MachO.Binary, macho_faults),
             "win32": (lief.PE.Binary, pe_faults)}
    kind, faults = kinds[platform.split("-")[0]]
    found = list(faults(lief, binary, platform, api)) if isinstance(binary, kind) else ["is no %s" % kind.__module__]
    data = path.read_bytes()
    found += ["holds the path " + name for name in {str(ROOT), str(path.parent), str(pathlib.Path.home()) + "/"}
              if len(name) > 2 and name.encode() in data]
    if found:
        raise SystemExit("%s: %s: %s" % (platform, path, "; ".join(found)))


# -- all of it --

def build(out, platforms):
    os.umask(0o022)
    api = node_api()
    with tempfile.TemporaryDirectory(prefix="node-dist-", dir=BUILD) as work:
        work = pathlib.Path(work)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            binaries = dict(zip(platforms, pool.map(lambda name: compile_addon(name, work), platforms)))
        for platform, path in binaries.items():
            examine(platform, path, api)
            print("%8d  prebuilds/%s/rlimit.node" % (path.stat().st_size, platform))
        stage(work / "package", binaries)
        packed = pack(work / "package", work / "out")
        out.mkdir(parents=True, exist_ok=True)
        for path in out.glob("rlimit-*.tgz"):
            path.unlink()
        path = pathlib.Path(shutil.move(str(packed), str(out)))
    print("%8d  %s" % (path.stat().st_size, path.name))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=BUILD / "dist",
                        help="rlimit-*.tgz in it is replaced (default: build/dist)")
    parser.add_argument("--tools", action="store_true", help="only install what it builds with")
    parser.add_argument("platforms", nargs="*", metavar="PLATFORM", help="default: " + ", ".join(TARGETS))
    arguments = parser.parse_args()
    for name in arguments.platforms:
        if name not in TARGETS:
            parser.error("platform: must be one of %s, not %s" % (", ".join(TARGETS), name))
    if not shutil.which("node") or not shutil.which("npm"):
        print("skipped: the Node package: no " + ("npm" if shutil.which("node") else "node"))
        return
    BUILD.mkdir(exist_ok=True)
    if not TOOLS.exists() or not os.path.samefile(sys.prefix, TOOLS):       # again, with lief and Zig's compiler
        raise SystemExit(subprocess.run([tools(), *sys.argv]).returncode)
    if not arguments.tools:
        build(arguments.out.resolve(), arguments.platforms or list(TARGETS))


if __name__ == "__main__":
    main()
