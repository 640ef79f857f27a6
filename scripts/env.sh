# shellcheck shell=sh
# shellcheck disable=SC2154  # $repo
# Messages, and virtual environments under .venv/, for all scripts and .ci/run, which source this with $repo set to the
# top of the repository. It needs a POSIX shell and Python; no package of the repository has to be installed.

# Ignore the setup of the caller's shell: modules of another project, pip of another environment.
unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1

# Runs on Python 2 as well, to report that it is too old.
probe='
import sys
state = "old"
if sys.version_info >= (3, 11):
    try:
        import ensurepip, venv
        state = "ready"
    except ImportError:
        state = "bare"
print("%s %d.%d.%d %s" % ((state,) + tuple(sys.version_info[:3]) + (sys.executable,)))
'

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# Sets $python and $python_version: only $PYTHON if it is set, else the first suitable one.
python=''
find_python() {
    # Keep the one that was found, so that the next environment does not use the one activated last.
    [ -z "$python" ] || return 0
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11 python
    fi
    old='' bare=''
    for candidate; do
        found=$("$candidate" -c "$probe" 2>/dev/null) || continue
        rest=${found#* }
        python_version=${rest%% *}
        case $found in
            ready*) python=${rest#* } && return ;;
            bare*) bare=${bare:-"${rest#* } is Python $python_version"} ;;
            old*) old=${old:-"${rest#* } is Python $python_version"} ;;
        esac
    done

    again="set PYTHON=/path/to/python3"
    [ -z "$bare" ] || fail "$bare, but cannot make environments: run 'apt install python3-venv' (Debian, Ubuntu) and try again, or $again"
    [ -z "$old" ] || fail "$old, and nbtape needs 3.11 or newer: install one (https://www.python.org/downloads/), or $again"
    [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON does not run: set it to a Python 3.11 or newer, or unset it"
    fail "no Python found: install Python 3.11 or newer (https://www.python.org/downloads/), or $again"
}

# One line that changes whenever one of these files (paths relative to the repository) changes.
checksum() {
    (cd "$repo" && find "$@" -type f ! -name '*.pyc' -exec cksum {} + | LC_ALL=C sort | cksum)
}

# dependencies GROUP...: one line that changes whenever the requirements in pyproject.toml change: the dependencies,
# extras, commands and entry points of nbtape, and these dependency groups. Settings of tools do not count.
dependencies() {
    find_python
    "$python" -c '
import hashlib, sys, tomllib
with open(sys.argv[1], "rb") as file:
    data = tomllib.load(file)
groups = {name: data["dependency-groups"][name] for name in sys.argv[2:]}
print(hashlib.sha256(repr((data["project"], groups)).encode()).hexdigest()[:16])
' "$repo/pyproject.toml" "$@"
}

# Runs a long, quiet command, with dots on the terminal while it runs.
patiently() {
    ticker=''
    if [ -t 2 ]; then
        # Check the parent, so that a killed script leaves no dots behind.
        (while sleep 2 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do printf '.' >&2; done) &
        ticker=$!
    fi
    outcome=0
    "$@" || outcome=$?
    if [ -n "$ticker" ]; then
        kill "$ticker" 2>/dev/null || :
        wait "$ticker" 2>/dev/null || :
        printf '\n' >&2
    fi
    return "$outcome"
}

# use_env NAME CONTENTS PIP-ARGUMENT...: sets $venv to .venv/NAME with these packages installed, and activates it.
# It does nothing else if the stamp of the last run has the same Python, path, arguments and CONTENTS (a checksum).
use_env() {
    name=$1 files=$2
    shift 2
    contents="$files $*"
    find_python
    venv=$repo/.venv/$name
    stamp=$venv/nbtape.stamp
    place="Python $python_version in $venv"

    # After the repository is moved or Python is upgraded, an environment looks complete but is not.
    if ! "$venv/bin/python" -c '' 2>/dev/null || [ "$(sed -n 1p "$stamp" 2>/dev/null)" != "$place" ]; then
        say "Creating the environment .venv/$name with Python $python_version ($python)"
        patiently "$python" -m venv --clear "$venv" ||
            fail "the environment $venv could not be created: fix the error above and run this again"
        printf '%s\n' "$place" >"$stamp"
    fi
    if [ "$(sed -n 2p "$stamp")" != "$contents" ]; then
        say "Installing into .venv/$name: $*"
        say "(the first time, this takes about a minute or more)"
        printf '%s\n' "$place" >"$stamp"
        # The pip that came with Python may be too old for --group.
        patiently install_all "$@" ||
            fail "pip could not install that: fix the error above and run this again"
        printf '%s\n' "$place" "$contents" >"$stamp"
    else
        say "Using the environment .venv/$name, which is up to date"
    fi
    # IPython adds the packages of whatever VIRTUAL_ENV names.
    export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
}

# -qq prints only errors.
install_all() {
    "$venv/bin/python" -m pip install -qq 'pip>=25.1' &&
        (cd "$repo" && "$venv/bin/python" -m pip install -qq "$@")
}

# An editable install, so that changed sources count at once, and the dependencies of the tests.
use_test_env() {
    use_env test "$(dependencies test)" --editable '.[export]' --group test
}
