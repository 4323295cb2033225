#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Goal: the rules of style that a formatter does not know.
Method: read every source file against the tables below.  Without an argument, first show on a
small tree that each rule finds its violation and nothing else, then check this source tree; with
one, check only the tree there.
"""
import os
import re
import sys
import tempfile

COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800

LIBRARY = ("base/", "kernels/", "cache/", "loader/")
FOLDERS = LIBRARY + ("bench/", "include/", "tests/", "docs/", ".ci/")

# Calls that no C file makes: they write past ends or cannot report a failure.
BANNED = ("strcpy stpcpy strcat strncat strncpy sprintf vsprintf gets strtok "
          "atoi atol atoll atof").split()

# Calls that the library makes through wl_sys only, so that tests can make each fail.
THROUGH_SYS = (
    "malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf posix_memalign "
    "aligned_alloc open openat creat close fopen fdopen fclose fread fwrite stat fstat lstat statx "
    "fstatat read pread readv preadv write pwrite writev pwritev opendir fdopendir readdir "
    "closedir mmap munmap madvise mincore posix_fadvise readahead eventfd pipe pipe2 "
    "pthread_create "
    "io_uring_queue_init io_uring_queue_init_params io_uring_queue_exit io_uring_submit "
    "io_uring_submit_and_wait io_uring_submit_and_wait_timeout io_uring_wait_cqe "
    "io_uring_register_files io_uring_register_buffers syscall").split()

# File: the calls of that table which it makes itself, and why.
ALLOWED = {
    "base/sys.c": (THROUGH_SYS, "it is the table"),
}

NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
UNFINISHED = re.compile(r"\b(TO" "DO|FIX" "ME|XX" "X)\\b")
OF_A_MACHINE = re.compile(r"(?<![\w.*}])/(work|root|home/\w+)/")
# Under pipefail the writer's SIGPIPE is a failure, now and then.
STOPS_READING = re.compile(r"(?<!\|)\|\s*(grep\s+-\w*q|head\b|awk\b.*\bexit\b|sed\b.*\dq\b)")
LICENSE = "SPDX-License-Identifier: Apache-2.0"


def files_of(root):
    for folder in FOLDERS:
        for at, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                yield os.path.relpath(os.path.join(at, name), root)
    yield from (name for name in os.listdir(root) if os.path.isfile(os.path.join(root, name)))


def is_script(path, text):
    return path.endswith((".sh", ".py")) or text.startswith("#!")


def code_only(text):
    """The text with comments and strings emptied, line by line where it was."""
    return NOT_CODE.sub(lambda match: "\n" * match.group().count("\n"), text)


def calls(code, names):
    pattern = re.compile(r"(?<![\w>.])(" + "|".join(names) + r")\s*\(")
    for number, line in enumerate(code.split("\n"), 1):
        for match in pattern.finditer(line):
            yield number, match.group(1)


def check_c(path, text):
    code = code_only(text)
    begin = None
    for number, line in enumerate(code.split("\n"), 1):
        if line == "{":
            begin = number
        elif line.startswith("}") and begin:
            if number - begin - 1 > FUNCTION_LINES_MAX:
                yield begin, f"a function of {number - begin - 1} lines"
            begin = None
    for number, name in calls(code, BANNED):
        yield number, f"{name}() is banned"
    if path.startswith(LIBRARY):
        allowed, _ = ALLOWED.get(path, ((), "none"))
        for number, name in calls(code, THROUGH_SYS):
            if name not in allowed:
                yield number, f"{name}() goes through wl_sys"


def check_file(path, text):
    lines = text.split("\n")
    is_c = path.endswith((".c", ".h", ".cc", ".cu"))
    if is_c or is_script(path, text):
        first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
        if LICENSE not in first:
            yield 1, "the license line is missing"
        if len(lines) - 1 > FILE_LINES_MAX:
            yield FILE_LINES_MAX, f"a file of {len(lines) - 1} lines"
    if is_c or is_script(path, text) or path.endswith("CMakeLists.txt"):
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX:
                yield number, f"a line of {len(line)} columns"
            if "\t" in line:
                yield number, "a tab"
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            yield number, "a note of unfinished work"
        if OF_A_MACHINE.search(line):
            yield number, "a path of one machine"
        if "pipefail" in text and STOPS_READING.search(line) and not path.endswith(".py"):
            yield number, "a pipe into what may stop reading early"
    if is_c:
        yield from check_c(path, text)


def check_tree(root):
    for path in sorted(files_of(root)):
        with open(os.path.join(root, path), "rb") as file:
            data = file.read()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue  # a sample for a parser
        for number, finding in check_file(path, text):
            yield f"{path}:{number}: {finding}"


def self_test():
    spdx = f"/* {LICENSE} */\n"
    body = "    step();\n"
    good = {
        "base/sys.c": spdx + "void *take(void)\n{\n    return malloc(1);\n}\n",
        "loader/a.c": spdx + "/* malloc() is for sys.c */\nint f(void)\n{\n" +
                      body * FUNCTION_LINES_MAX + "}\n" +
                      "int g(void)\n{\n    wl_sys->free(\"free(x)\");\n    return x.read(1);\n}\n",
        "bench/b.c": spdx + "int f(void)\n{\n    free(x); /* " + "*" * 72 + " */\n}\n",
        "tests/unit/t.py": f"#!/usr/bin/env python3\n# {LICENSE}\nopen('/proc/self/root/x')\n",
        "tests/cli/s.sh": f"# {LICENSE}\nset -o pipefail\na || head b\na | awk '{{ b }}' | tail\n",
        "docs/d.md": "a\tb" + "-" * 200 + "\n",
    }
    bad = [
        ("loader/a.c", "int f;\n", "license"),
        ("tests/unit/t.py", "#!/usr/bin/env python3\nx = 1\n", "license"),
        ("loader/a.c", spdx + "int x;" + " " * 95 + "\n", "columns"),
        ("loader/a.c", spdx + "\tint x;\n", "tab"),
        ("loader/a.c", spdx + "int x;\n" * FILE_LINES_MAX, "a file of 801 lines"),
        ("loader/a.c", spdx + "int f(void)\n{\n" + body * 71 + "}\n", "a function of 71 lines"),
        ("loader/a.c", spdx + "/* TO" "DO: more */\n", "unfinished"),
        ("docs/d.md", "XX" "X\n", "unfinished"),
        ("CMakeLists.txt", "set(x /wo" "rk/main)\n", "machine"),
        ("tests/unit/t.py", f"# {LICENSE}\nx = '/ro" "ot/x'\n", "machine"),
    ]
    bad += [("tests/cli/s.sh", f"# {LICENSE}\nset -o pipefail\na | {reader}\n", "stop reading")
            for reader in ("grep -Eq b", "head -n 1", "awk '{ exit }'", "sed -n 1q")]
    bad += [("bench/b.c", spdx + f"int x = {name}(y);\n", "banned") for name in BANNED]
    bad += [(folder + "a.c", spdx + f"int x = {name} (y);\n", "wl_sys")
            for folder in LIBRARY for name in THROUGH_SYS]
    with tempfile.TemporaryDirectory() as root:
        def write(path, text):
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)

        for path, text in good.items():
            write(path, text)
        if found := list(check_tree(root)):
            sys.exit(f"the rules refuse what they should allow: {found}")
        for path, text, word in bad:
            write(path, text)
            found = list(check_tree(root))
            if len(found) != 1 or not found[0].startswith(path) or word not in found[0]:
                sys.exit(f"for {text[:200]!r} in {path}: {found}")
            os.unlink(os.path.join(root, path))
            if path in good:
                write(path, good[path])


def main():
    if len(sys.argv) == 1:
        self_test()
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("WLOAD_SOURCE", here)
    found = list(check_tree(root))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


sys.exit(main())
