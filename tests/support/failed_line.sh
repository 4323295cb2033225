# SPDX-License-Identifier: Apache-2.0
#
# Bash reads this before a script of the tests (BASH_ENV), so that one which set -e ends says where.
unset BASH_ENV
set -o errtrace
trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: exit code $?: $BASH_COMMAND" >&2' ERR
