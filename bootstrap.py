"""Set-up: make `.venv`, install Perennial into it, then run a command there. Standard library only.

    python3 bootstrap.py                                    install what the demo needs
    python3 bootstrap.py --extras dev -- python -m pytest   install the tests' needs as well, then run them

A repeat costs nothing (a stamp holds what was installed), an interrupted installation is rebuilt, and PyTorch is
installed first, without CUDA: an installed one is kept, else pip's offline wheels are asked, then PyTorch's CPU
index, then PyPI. PERENNIAL_TORCH=offline, cpu or any (default) says how far down that list it may go.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

OLDEST = (3, 11)
ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(BIN, "python.exe" if os.name == "nt" else "python")
STAMP = os.path.join(VENV, "perennial-stamp.json")
UNFINISHED = os.path.join(VENV, "perennial-unfinished")
LOG = os.path.join(VENV, "perennial-pip.log")
TORCH_CPU = "https://download.pytorch.org/whl/cpu"
TORCH_SOURCES = ("offline", "cpu", "any")
THREADS = ["OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB", "NUMEXPR"]
FOLDERS = ("envs", "agents", "experiments", "conf")


def say(text):
    """A line for the person who waits; on the error stream, so that a command's own output stays clean."""
    print("[set-up] " + text, file=sys.stderr, flush=True)


def stop(text):
    """End with one message and exit code 1."""
    say(text)
    raise SystemExit(1)


def works(command):
    """Whether `command` runs and exits with 0; its output is thrown away."""
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def find_python():
    """The path of a Python that is new enough: this one, else the newest that answers on the PATH."""
    if sys.version_info >= OLDEST:
        return sys.executable
    check = "import sys; sys.exit(sys.version_info < {!r})".format(OLDEST)
    for minor in range(20, OLDEST[1] - 1, -1):
        found = shutil.which("python3.%d" % minor)
        if found and works([found, "-c", check]):
            return found
    return stop(
        "Perennial needs Python %d.%d or newer. Got %s, and no newer python3.N on the PATH. "
        "Install one (for example from python.org, pyenv or your package manager) and repeat."
        % (OLDEST + (sys.version.split()[0],))
    )


@contextlib.contextmanager
def locked():
    """Let one set-up at a time change `.venv`; where the system has no file locks, trust the user."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(os.path.join(ROOT, "pyproject.toml")) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fingerprint():
    """What an installation depends on, the extras apart: pyproject.toml, the Python, the place."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        parts = [file.read(), sys.version.encode(), ROOT.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed_extras():
    """The extras that the stamp says are installed for this very pyproject.toml and Python; None = nothing is."""
    try:
        with open(STAMP) as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return None
    return set(stamp["extras"]) if stamp.get("fingerprint") == fingerprint() else None


def ready(extras):
    """Whether `.venv` holds all that is asked for."""
    done = installed_extras()
    return done is not None and set(extras) <= done and not os.path.exists(UNFINISHED) and os.path.exists(PYTHON)


def healthy():
    """Whether `.venv` can be built upon: whole, of a Python that is new enough, and not cut off half-way."""
    if os.path.exists(UNFINISHED):
        say("an earlier installation was cut off; building .venv anew")
        return False
    check = "import sys, pip; sys.exit(sys.version_info < %r or sys.prefix == sys.base_prefix)" % (OLDEST,)
    if os.path.isdir(VENV) and not works([PYTHON, "-c", check]):
        say(".venv does not work, or its Python is too old; building it anew")
        return False
    return os.path.isdir(VENV)


def make_venv():
    """A fresh `.venv` with pip in it, also where Debian's python3-venv (ensurepip) is missing."""
    say("making the virtual environment .venv with Python " + sys.version.split()[0])
    if os.path.isdir(VENV):
        shutil.rmtree(VENV)
    if works([sys.executable, "-c", "import venv, ensurepip"]) and works([sys.executable, "-m", "venv", VENV]):
        return
    made = works([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV])
    if made and works([sys.executable, "-m", "pip", "--python", PYTHON, "install", "-q", "pip"]):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    stop(
        "Cannot make a virtual environment with " + sys.executable + ": its modules venv and ensurepip must work. "
        "On Debian and Ubuntu: sudo apt-get install python3-venv. Then repeat."
    )


def pip(*arguments, **environment):
    """Run pip inside `.venv`; True when it succeeded. The whole story goes to `LOG`, errors to the screen."""
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--quiet", "--log", LOG]
    settings = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", **environment)
    quiet = subprocess.DEVNULL if environment or "--no-index" in arguments else None
    return subprocess.call(command + list(arguments), env=settings, cwd=ROOT, stdout=quiet, stderr=quiet) == 0


def torch_requirement():
    """The line of pyproject.toml that asks for torch, such as ``torch>=2.6``."""
    with open(os.path.join(ROOT, "pyproject.toml")) as file:
        return re.search(r'"(torch[^a-z"][^"]*)"', file.read()).group(1)


def install_torch(limit):
    """PyTorch without CUDA, in a step of its own: plain `pip install torch` on Linux fetches 3 GB of CUDA."""
    wanted = torch_requirement()
    say("looking for an installed " + wanted + ", then for an offline wheel of it")
    if pip("--no-index", "--no-deps", wanted):
        return
    if limit == "offline":
        stop("No offline wheel of " + wanted + " (pip's find-links), and PERENNIAL_TORCH=offline forbids a download.")
    say("no offline wheel; asking PyTorch's CPU index (about 200 MB)")
    if pip("--no-deps", "--index-url", TORCH_CPU, wanted, PIP_EXTRA_INDEX_URL=TORCH_CPU, PIP_RETRIES="1"):
        return
    if limit == "cpu":
        stop("PyTorch's CPU index " + TORCH_CPU + " gave no " + wanted + ", and PERENNIAL_TORCH=cpu forbids PyPI's.")
    say("WARNING: the CPU index did not answer; PyPI's torch follows, on Linux with CUDA (3 GB of downloads)")
    if not pip(wanted):
        stop("Could not install " + wanted + ". Check the network, or install it into .venv by hand. Log: " + LOG)


def install(extras, limit):
    """Bring `.venv` to what `extras` ask for; the stamp is written last."""
    if not healthy():
        make_venv()
    with open(UNFINISHED, "w") as file:
        file.write("an installation is under way or was cut off\n")
    install_torch(limit)
    target = "." + ("[" + ",".join(sorted(extras)) + "]" if extras else "")
    say("installing Perennial (" + target + "), a few minutes the first time; details in " + os.path.relpath(LOG, ROOT))
    if not pip("-e", target):
        os.remove(UNFINISHED)  # pip ended by itself and said why: what is there is whole
        stop("pip could not install " + target + "; see the lines above and " + LOG + ", then repeat.")
    with open(STAMP + ".new", "w") as file:
        known = installed_extras() or set()
        json.dump({"fingerprint": fingerprint(), "extras": sorted(known | set(extras))}, file)
    os.replace(STAMP + ".new", STAMP)
    os.remove(UNFINISHED)
    say("ready")


def link_sources():
    """Links `.mypy_path/perennial/<folder>`: mypy follows no import hook, so it needs the import name as a folder."""
    place = os.path.join(ROOT, ".mypy_path", "perennial")
    os.makedirs(place, exist_ok=True)
    for folder in FOLDERS:
        link = os.path.join(place, folder)
        if not os.path.lexists(link):
            try:
                os.symlink(os.path.join("..", "..", folder), link)
            except OSError as error:
                say("no link " + link + " (" + str(error) + "): `make lint` cannot type-check here")


def environment():
    """The environment of what runs inside `.venv`: its programs first, and one thread to each process."""
    values = {name + "_NUM_THREADS": "1" for name in THREADS}
    values.update(POLARS_MAX_THREADS="1", VIRTUAL_ENV=VENV, PATH=BIN + os.pathsep + os.environ.get("PATH", ""))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    return dict(kept, **values)


def run(command):
    """Run `command` inside `.venv`; its exit code."""
    settings = environment()
    program = shutil.which(command[0], path=settings["PATH"])
    if program is None:
        stop("No program '" + command[0] + "' in .venv or on the PATH.")
    return subprocess.call([program] + command[1:], env=settings)


def parse(arguments):
    """(extras, command) of the command line."""
    options, command = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        options, command = arguments[:cut], arguments[cut + 1 :]
    if not options:
        return [], command
    if len(options) == 2 and options[0] == "--extras":
        return [name for name in options[1].split(",") if name], command
    if options[0] in ("-h", "--help"):
        print(__doc__)
        raise SystemExit(0)
    return stop("usage: python3 bootstrap.py [--extras NAME,NAME] [-- COMMAND ...]. Got " + " ".join(options))


def main():
    """Install what is missing, then run the command."""
    extras, command = parse(sys.argv[1:])
    limit = os.environ.get("PERENNIAL_TORCH", "any")
    if limit not in TORCH_SOURCES:
        stop("PERENNIAL_TORCH must be one of " + ", ".join(TORCH_SOURCES) + ". Got '" + limit + "'.")
    python = find_python()
    if python != sys.executable:
        return subprocess.call([python, os.path.abspath(__file__)] + sys.argv[1:])
    if not ready(extras):
        with locked():
            if not ready(extras):
                install(extras, limit)
    link_sources()
    return run(command) if command else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
