#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Goal: .clang-format would change no C file, and shellcheck no script.
# Method: run each that is installed; first on a text that it must refuse.  Layouts differ between
# versions of clang-format, so only version 14 (Debian 12's) is asked.
set -euo pipefail
cd "${WLOAD_SOURCE:-$(dirname "$0")/../..}"
missing=()

formatter=
for name in clang-format-14 clang-format; do
    if [[ -z $formatter && $("$name" --version 2>/dev/null) == *' version 14.'* ]]; then
        formatter=$name
    fi
done
if [[ -n $formatter ]]; then
    check=("$formatter" --dry-run -Werror --style=file)
    if printf 'int  x;\n' | "${check[@]}" --assume-filename=base/x.c 2>/dev/null; then
        echo "$formatter finds nothing wrong with two spaces" >&2
        exit 1
    fi
    find base kernels cache loader bench include tests -name '*.[ch]' -print0 |
        xargs -0 "${check[@]}"
else
    missing+=('clang-format 14')
fi

if command -v shellcheck >/dev/null; then
    # shellcheck disable=SC2016  # that is what it has to find
    if printf '#!/bin/bash\nrm $1\n' | shellcheck - >/dev/null; then
        echo "shellcheck finds nothing wrong with a bare argument" >&2
        exit 1
    fi
    grep -rlZ '^#!/usr/bin/env bash' .ci bench tests | xargs -0 shellcheck -x \
        tests/support/packages.sh
else
    missing+=(shellcheck)
fi

if ((${#missing[@]} > 0)); then
    echo "without ${missing[*]}; the rest is right"
    exit 77
fi
