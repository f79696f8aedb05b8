#!/usr/bin/env bash
# run_client.sh OUTDIR [CASES] -- CLIENT...: run a WebSocket client against the Autobahn fuzzing server.
#
# CLIENT is called with the server's URL as its last argument, and asks for the cases by number as the suite's protocol
# says. Runs the cases of expected.txt, or those of them that CASES names ('6.*,7.1.6'), and compares what they gave with
# what is expected. Writes the suite's own reports (index.html) to OUTDIR. The server takes a free port.
# Exit: 0 as expected, 1 a case differs or did not run, 2 the suite or the client itself broke.
# Env: WSTEST_DIR, what setup.sh built (target/autobahn/venv); WSTEST_TIMEOUT, seconds for the whole run (1200).
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
USAGE='usage: run_client.sh OUTDIR [CASES] -- CLIENT...'
OUT=${1:?$USAGE}
shift
CASES='*'
if [ "${1:?$USAGE}" != -- ]; then
  CASES=$1
  shift
fi
[ "${1:?$USAGE}" = -- ] || { echo "$USAGE" >&2; exit 2; }
shift
DIR=${WSTEST_DIR:-$HERE/../../target/autobahn/venv}
PYTHON=$DIR/bin/python
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
rm -f "$OUT"/*.json "$OUT"/*.html

PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
URL=ws://127.0.0.1:$PORT
"$PYTHON" "$HERE/check.py" server-spec "$HERE/expected.txt" "$CASES" "$URL" "$OUT" > "$OUT/spec.in"
"$DIR/bin/wstest" -m fuzzingserver -u 0 -s "$OUT/spec.in" > "$OUT/wstest.log" 2>&1 &
SERVER=$!
trap 'kill "$SERVER" 2> /dev/null || true; wait "$SERVER" 2> /dev/null || true' EXIT

is_up() { (exec 3<> "/dev/tcp/127.0.0.1/$PORT") 2> /dev/null; }
for _ in $(seq 300); do
  if is_up || ! kill -0 "$SERVER" 2> /dev/null; then break; fi
  sleep 0.1
done

START=$SECONDS
if ! timeout "${WSTEST_TIMEOUT:-1200}" "$@" "$URL" > "$OUT/client.log" 2>&1 || [ ! -f "$OUT/index.json" ]; then
  echo "the client or the suite broke; the ends of $OUT/client.log and $OUT/wstest.log:" >&2
  tail -n 5 "$OUT/client.log" "$OUT/wstest.log" >&2
  exit 2
fi
echo "the client took $((SECONDS - START)) s; the suite's report is $OUT/index.html"
if grep -q '^Traceback' "$OUT/wstest.log"; then
  echo "the suite itself raised an exception, see $OUT/wstest.log" >&2
  exit 2
fi
"$PYTHON" "$HERE/check.py" compare "$HERE/expected.txt" "$CASES" "$OUT/index.json"
