# Shared by scripts/*; sourced, never run. Nothing here trusts the caller's directory.
# shellcheck shell=bash

set -euo pipefail
umask 022
REPO=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
LOGS=$REPO/.logs
VENV=${SHIM_VENV:-$REPO/.venv}
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# apt's triggers and useradd live in sbin, which `su` and cron leave out.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# step TITLE COMMAND...: run quietly, one line of progress; on failure the end of the log.
step() {
    local title=$1 log start=$SECONDS status
    shift
    mkdir -p "$LOGS"
    log=$LOGS/${title//[^A-Za-z0-9.]/-}.log
    printf '  %-46s' "$title" >&2
    set +e # a subshell that is no condition: errexit holds inside it
    (set -e; "$@") >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if [ $status = 0 ]; then
        printf 'ok %4ds\n' $((SECONDS - start)) >&2
    else
        printf 'FAILED\n' >&2
        tail -n 40 "$log" >&2
        die "$title failed; the whole log is $log"
    fi
}

installed() { dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

# A service that comes with a package is not what anybody asked for: do not let it start.
apt_install() {
    local policy=/usr/sbin/policy-rc.d ours=0 status=0
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        ours=1
    fi
    { apt-get update -q && apt-get install -q -y --no-install-recommends "$@"; } || status=$?
    [ $ours = 0 ] || rm -f $policy
    return $status
}

# need PACKAGE...: install those that are missing.
need() {
    local missing=() package
    command -v apt-get >/dev/null || die "needs apt (Debian 12 or later, Ubuntu 24.04 or later)"
    for package; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    [ "$(id -u)" = 0 ] || die "these packages are missing; run me with sudo, or install them: ${missing[*]}"
    step "apt install ${#missing[@]} packages" apt_install "${missing[@]}"
    case " ${missing[*]} " in
        *" nginx-light "*) command -v systemctl >/dev/null && systemctl disable nginx >/dev/null 2>&1 || true ;;
    esac
}

BUILD_PACKAGES=(ca-certificates python3 python3-venv python3-dev gcc libc6-dev libcap-dev libseccomp-dev)

# The machine's own Python first: the one that upgrades come for.
pick_python() {
    local candidate
    for candidate in "${SHIM_PYTHON:-}" /usr/bin/python3 /usr/bin/python3.{13,12,11} python3; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$candidate"
            return
        fi
    done
    die "needs Python 3.11 or later"
}

# requirements GROUP...: what pyproject.toml asks for, one a line; "run" is the package's own needs.
requirements() {
    "$1" - "$REPO/pyproject.toml" "${@:2}" <<'PY'
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
for group in sys.argv[2:]:
    print(*(project["dependencies"] if group == "run" else project["optional-dependencies"][group]), sep="\n")
PY
}

# make_venv DIR PYTHON GROUP...: create or refresh; nothing is done when all that is asked for was
# installed before (quickstart asks for less than test, in the same directory).
make_venv() {
    local dir=$1 python=$2 wanted stamp
    shift 2
    wanted=$(requirements "$python" "$@")
    stamp=$dir/.hookshim-requirements
    if [ -x "$dir/bin/python" ] && [ -f "$stamp" ] && ! grep -vxFf "$stamp" <<<"$wanted" >/dev/null; then
        return
    fi
    [ -x "$dir/bin/python" ] || "$python" -m venv "$dir"
    printf '%s\n' "$wanted" >"$stamp.new"
    "$dir/bin/python" -m pip install -q --upgrade -r "$stamp.new"
    mv "$stamp.new" "$stamp"
}

# in_place VENV: shim/_core.abi3.so and shim/shim-executor, so that PYTHONPATH=$REPO works.
in_place() {
    local venv=$1 build=$REPO/build/dev product
    # meson finds Python and ninja by PATH
    local -x PATH=$venv/bin:$PATH
    if [ -f "$build/build.ninja" ]; then
        "$venv/bin/meson" setup --reconfigure "$build" "$REPO" >/dev/null || {
            rm -rf "$build"
            "$venv/bin/meson" setup "$build" "$REPO"
        }
    else
        rm -rf "$build"
        "$venv/bin/meson" setup "$build" "$REPO"
    fi
    for product in _core.abi3.so shim-executor; do
        "$venv/bin/ninja" -C "$build" "csrc/$product"
        # by rename: a program that runs cannot be written to
        cp "$build/csrc/$product" "$REPO/shim/.$product.new"
        mv "$REPO/shim/.$product.new" "$REPO/shim/$product"
    done
}

# install_package VENV: the wheel, built from this checkout, as a user would have it.
install_package() {
    local venv=$1
    local -x PATH=$venv/bin:$PATH
    "$venv/bin/python" -m pip install -q --no-build-isolation --no-deps --force-reinstall \
        --config-settings=build-dir="$REPO/build/wheel" "$REPO"
}

# prepare GROUP...: the virtual environment, the products in shim/, and the package as a user would
# have it; `build run` and nothing else is what people need.
prepare() {
    local python
    python=$(pick_python)
    step "virtual environment" make_venv "$VENV" "$python" "$@"
    step "compile" in_place "$VENV"
    step "install the package" install_package "$VENV"
}
