#!/usr/bin/env bash
# Opens the notebooks in the browser; the first time it installs what they need into this folder (Linux and macOS).
cd "$(dirname "$0")/.." || exit 1
export PATH="$PWD/.uv:$HOME/.local/bin:$PATH" UV_PYTHON_INSTALL_DIR="$PWD/.uv/python"
unset PYTHONHOME PYTHONPATH
export UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1 # trust whom the computer trusts, as in networks of institutes
start=notebooks/lab/start.py

fits() { "$1" -c "import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" 2>/dev/null; }

run() {
  for python in .venv/bin/python python3.11 python3.12 python3.13; do
    if fits "$python"; then "$python" "$start" "$@"; return; fi
  done
  if ! command -v uv >/dev/null; then # it brings a Python of its own
    echo "Python 3.11, 3.12 or 3.13 is missing here: fetching it into this folder (about a minute) ..."
    curl -LsSf https://astral.sh/uv/install.sh 2>/dev/null | env UV_UNMANAGED_INSTALL="$PWD/.uv" sh >/dev/null 2>&1
  fi
  if ! uv run --quiet --no-project --python 3.11 python -c "" 2>/dev/null; then
    echo "Python could not be fetched. Is there a connection to the internet, and may you write into $PWD?"
    echo "Connect and start again, or install Python 3.12 from python.org first."
    return 1
  fi
  uv run --quiet --no-project --python 3.11 "$start" "$@"
}

run "$@"
code=$?
if [ $code -ne 0 ] && [ -t 0 ]; then read -r -p "Press Enter to close this window. "; fi
exit $code
