#!/usr/bin/env bash
# run.sh URL OUTDIR [CASES]: run the Autobahn fuzzing client against the WebSocket server at URL.
#
# Runs the cases of expected.txt, or those of them that CASES names ('6.*,7.1.6'), and compares what they gave with what
# is expected. Writes the suite's own reports (index.html) to OUTDIR.
# Exit: 0 as expected, 1 a case differs or did not run, 2 the suite itself broke.
# Env: WSTEST_DIR, what setup.sh built (target/autobahn/venv); WSTEST_TIMEOUT, seconds for the whole run (1200).
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
URL=${1:?usage: run.sh URL OUTDIR [CASES]}
OUT=${2:?usage: run.sh URL OUTDIR [CASES]}
CASES=${3:-*}
DIR=${WSTEST_DIR:-$HERE/../../target/autobahn/venv}
PYTHON=$DIR/bin/python
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
rm -f "$OUT"/*.json "$OUT"/*.html

"$PYTHON" "$HERE/check.py" spec "$HERE/expected.txt" "$CASES" "$URL" "$OUT" > "$OUT/spec.in"
START=$SECONDS
if ! timeout "${WSTEST_TIMEOUT:-1200}" "$DIR/bin/wstest" -m fuzzingclient -s "$OUT/spec.in" > "$OUT/wstest.log" 2>&1 ||
   [ ! -f "$OUT/index.json" ]; then
  echo "wstest broke; the end of $OUT/wstest.log:" >&2
  tail -n 5 "$OUT/wstest.log" >&2
  exit 2
fi
echo "wstest took $((SECONDS - START)) s; its report is $OUT/index.html"
if grep -q '^Traceback' "$OUT/wstest.log"; then
  echo "the suite itself raised an exception, see $OUT/wstest.log" >&2
  exit 2
fi
"$PYTHON" "$HERE/check.py" compare "$HERE/expected.txt" "$CASES" "$OUT/index.json"
