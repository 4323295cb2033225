# SPDX-License-Identifier: Apache-2.0
"""A small disk and a read-only one, for a script that starts itself in a mount namespace."""
import contextlib
import subprocess
import sys
import tempfile

ARGUMENT = "--mounted"


def are_allowed():
    """Whether this is the run in the namespace."""
    return sys.argv[1:] == [ARGUMENT]


def run_again(script):
    """False: this user may make no such namespace."""
    for command in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        with contextlib.suppress(FileNotFoundError), tempfile.TemporaryDirectory() as place:
            trial = [*command, "mount", "-t", "tmpfs", "none", place]
            if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
                subprocess.run([*command, sys.executable, script, ARGUMENT], check=True)
                return True
    return False


def mount(stack, place, *steps):
    for arguments in steps:
        subprocess.run(["mount", *arguments], check=True)
    stack.callback(subprocess.run, ["umount", "-l", place], check=False)


def small_disk(stack, place, size_mib):
    mount(stack, place, ["-t", "tmpfs", "-o", f"size={size_mib}m", "none", place])


def read_only(stack, place):
    """What is there stays there."""
    mount(stack, place, ["--bind", place, place], ["-o", "remount,ro,bind", place])
