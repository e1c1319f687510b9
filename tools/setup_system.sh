#!/usr/bin/env bash
# Install the system packages that memplan needs, where that is allowed; say plainly what is missing
# where it is not.
#
#   tools/setup_system.sh build PYTHON   what building the package needs (an error if it stays missing)
#   tools/setup_system.sh test PYTHON    programs that the tests use (their tests are skipped without)
set -euo pipefail

purpose=$1
python=$2

command -v "$python" >/dev/null || {
  echo "memplan needs Python 3.11 or later; '$python' was not found. Set PYTHON=... or install python3." >&2
  exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "memplan needs Python 3.11 or later; '$python' is $("$python" --version)." >&2
  exit 1
}

has_header() { "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))'; }
has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

missing=()
case $purpose in
  build)
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    has_venv || missing+=(python3-venv)
    has_header || missing+=(python3-dev)
    ;;
  test)
    command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    ;;
  *)
    echo "usage: $0 build|test PYTHON" >&2
    exit 2
    ;;
esac
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  # Never ask for a password in the middle of a make.
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(false); fi
fi
if command -v apt-get >/dev/null && [ "${as_root[0]:-}" != false ]; then
  echo "Installing ${missing[*]} ..."
  export DEBIAN_FRONTEND=noninteractive
  # RUNLEVEL=1 has invoke-rc.d leave services stopped: nginx as a service would hold port 80.
  if "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
    exit 0
  fi
fi
if [ "$purpose" = build ]; then
  echo "memplan cannot be built without: ${missing[*]}. Install them, e.g. 'apt-get install ${missing[*]}'." >&2
  exit 1
fi
echo "Not installed, so their tests are skipped: ${missing[*]}" >&2
