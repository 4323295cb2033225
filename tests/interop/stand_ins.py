#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Let torch's CUDA build run without CUDA's libraries, on the CPU alone.

    stand_ins.py SITE_PACKAGES

Each library that torch's own ones name and that is not there is made beside them, with the
names that they import; whoever calls one dies.  Only the runtime (nvidia-cuda-runtime) has to be
real, as it is called while torch is imported.
"""
import pathlib
import re
import subprocess
import sys

# Imported without a version, so these may come from any stand-in.
UNVERSIONED = re.compile(r"^(nccl|cuFile|cusparseLt|nvshmem)")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def imports_of(library):
    """Names of libraries, versions by library, and (symbol, version) pairs that it imports."""
    libraries = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-dW", library)))
    versions, current = {}, None
    for kind, word in re.findall(r"(File|Name): (\S+)", output("readelf", "-VW", library)):
        if kind == "File":
            current = versions.setdefault(word, set())
        elif current is not None:
            current.add(word)
    lines = output("nm", "-D", "--with-symbol-versions", "--undefined-only", library).splitlines()
    symbols = {tuple((line.split()[-1].partition("@")[::2])) for line in lines}
    return libraries, versions, symbols


def main():
    site = pathlib.Path(sys.argv[1])
    target = site / "torch" / "lib"
    present = {path.name for path in [*target.iterdir(), *site.glob("nvidia/*/lib/*")]}
    libraries, versions, symbols = set(), {}, set()
    for path in target.glob("*.so"):
        named, wanted, imported = imports_of(path)
        libraries |= named
        symbols |= imported
        for library, words in wanted.items():
            versions.setdefault(library, set()).update(words)
    for library in sorted(libraries - present):
        if library.startswith(("libcu", "libnccl", "libnv")) and library != "libcuda.so.1":
            make(target / library, versions.get(library, set()), symbols)


def make(path, versions, symbols):
    names = {name for name, version in symbols
             if version in versions or (not version and UNVERSIONED.match(name))}
    script = path.with_suffix(".map")
    script.write_text("".join(f"{version} {{ global: *; }};\n" for version in sorted(versions)) or
                      "{ global: *; };\n", encoding="ascii")
    source = "".join(f"void {name}(void) {{ __builtin_trap(); }}\n" for name in sorted(names))
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-x", "c", "-", f"-Wl,-soname,{path.name}",
                    f"-Wl,--version-script={script}", "-o", str(path)],
                   input=source or "extern int none;", text=True, check=True)
    script.unlink()


if __name__ == "__main__":
    main()
