#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Goal: what wload loads only when it is needed is linked nowhere, and a packager's tools see it.
Method: read the dynamic section of the program and of the shared library, and the notes in the
format of https://systemd.io/ELF_DLOPEN_METADATA/; compare with a table.
"""
import json
import os
import re
import struct
import subprocess
import sys

TYPE = 0x407c0c0a
PRIORITIES = ("required", "recommended", "suggested")
GPUS = {
    "cuda": ["libcuda.so.1"],
    "hip": ["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5"],
}
NET = {"net": ["libcurl.so.4", "libcurl-gnutls.so.4"]}
SERVE = {"serve": ["libmicrohttpd.so.12"]}
LOADED = ("libcurl", "libcurl-gnutls", "libmicrohttpd", "libcuda", "libamdhip64")


def section(image, wanted):
    """Type, flags, alignment and content of a section of a 64-bit ELF file."""
    assert image[:6] == b"\x7fELF\x02\x01", "no 64-bit little-endian ELF file"
    at, = struct.unpack_from("<Q", image, 40)
    size, count, names = struct.unpack_from("<HHH", image, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, at + i * size) for i in range(count)]
    for name, kind, flags, _, offset, length, _, _, align, _ in headers:
        begin = headers[names][4] + name
        if image[begin:image.index(b"\0", begin)].decode() == wanted:
            return kind, flags, align, image[offset:offset + length]
    raise AssertionError(f"no section {wanted}")


def notes(content):
    """Owner, type and value of each."""
    at = 0
    while at < len(content):
        owner_size, size, kind = struct.unpack_from("<III", content, at)
        at += 12
        owner = content[at:at + owner_size]
        at += owner_size + -owner_size % 4
        value = content[at:at + size]
        assert len(value) == size, "a note goes beyond its section"
        at += size + -size % 4
        yield owner, kind, value


def check(path, expected):
    with open(path, "rb") as file:
        image = file.read()
    kind, flags, align, content = section(image, ".note.dlopen")
    assert (kind, flags, align) == (7, 2, 4), (kind, flags, align)  # SHT_NOTE, SHF_ALLOC
    found = {}
    for owner, kind, value in notes(content):
        assert (owner, kind) == (b"FDO\0", TYPE), (owner, kind)
        assert value[-1:] == b"\0" and value.count(b"\0") == 1, value
        for entry in json.loads(value[:-1]):
            assert set(entry) == {"feature", "description", "priority", "soname"}, entry
            assert entry["priority"] in PRIORITIES and entry["description"], entry
            assert entry["feature"] not in found, entry
            found[entry["feature"]] = entry["soname"]
    assert found == expected, found

    dynamic = subprocess.run(["readelf", "-dW", path], check=True, capture_output=True, text=True)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic.stdout)
    assert any(name.startswith("libc.so") for name in needed), needed
    assert not [name for name in needed if name.split(".so")[0] in LOADED], needed


def main():
    build = os.environ["WLOAD_BUILD"]
    with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as file:
        chosen = set(file.read().split("\n"))
    library = GPUS | (NET if "WLOAD_NET:BOOL=ON" in chosen else {})
    check(os.path.join(build, "loader", "libwload.so"), library)
    if os.environ.get("WLOAD"):
        check(os.environ["WLOAD"],
              library | (SERVE if "WLOAD_SERVE:BOOL=ON" in chosen else {}))


sys.exit(main())
