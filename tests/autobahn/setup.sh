#!/usr/bin/env bash
# setup.sh [DIR]: build the Autobahn TestSuite (`wstest`) for Python 3 in DIR, by default target/autobahn/venv.
#
# The suite is written in Python 2 and pinned here by hash; convert.py turns it into Python 3. A finished DIR whose
# recipe has not changed is left as it is. PYTHON chooses the interpreter (3.9 or later, with venv).
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
DIR=${1:-$HERE/../../target/autobahn/venv}
PYTHON=${PYTHON:-python3}

STAMP=$(cat "$HERE/setup.sh" "$HERE/convert.py" | sha256sum | cut -d' ' -f1)
if [ -f "$DIR/.done" ] && [ "$(cat "$DIR/.done")" = "$STAMP" ] && "$DIR/bin/python" -c '' 2>/dev/null; then
  echo "wstest is ready in $DIR"
  exit 0
fi

rm -rf "$DIR"
mkdir -p "$(dirname "$DIR")"
"$PYTHON" -m venv "$DIR"
DIR=$(cd "$DIR" && pwd)
pip() { "$DIR/bin/python" -m pip --disable-pip-version-check -q "$@"; }
pip install 'setuptools==68.2.2' 'wheel==0.42.0' 'fissix==24.4.24'
pip install 'twisted>=23.10,<27' 'txaio>=23' 'six>=1.16' 'zope.interface>=6' 'wsaccel==0.6.7'

mkdir -p "$DIR/src"
cat > "$DIR/src/sdists.txt" <<'REQUIREMENTS'
autobahntestsuite==25.10.1 --hash=sha256:b083d6e15330fc16f3e5f0975cce2b15f21bfa0c6db09547316b1852c6dbd6df
autobahn==0.10.9 --hash=sha256:3fecc1e2a26a0421128ddcfb4e577f0bc669dd65d0e0fdad1c773965cbcef75a
REQUIREMENTS
pip download --no-deps --no-binary :all: --no-build-isolation --require-hashes -r "$DIR/src/sdists.txt" -d "$DIR/src"
tar -xzf "$DIR/src/autobahntestsuite-25.10.1.tar.gz" -C "$DIR/src"
tar -xzf "$DIR/src/autobahn-0.10.9.tar.gz" -C "$DIR/src"
"$DIR/bin/python" "$HERE/convert.py" \
  "$DIR/src/autobahn-0.10.9" "$DIR/src/autobahntestsuite-25.10.1" "$DIR/wstest-py3"

cat > "$DIR/bin/wstest" <<WSTEST
#!$DIR/bin/python
import sys
sys.path.insert(0, "$DIR/wstest-py3")
from autobahntestsuite.wstest import run
run()
WSTEST
chmod +x "$DIR/bin/wstest"

CASES=$(PYTHONPATH="$DIR/wstest-py3" "$DIR/bin/python" -c 'from autobahntestsuite.case import Cases; print(len(Cases))')
if [ "$CASES" != 517 ]; then
  echo "setup.sh: expected a suite of 517 cases, got $CASES" >&2
  exit 1
fi
echo "$STAMP" > "$DIR/.done"
echo "wstest is ready in $DIR ($CASES cases)"
