#!/usr/bin/env bash
# Ray's tokens: does ray.init find a cluster by the address that `ray start` itself tells, as it does with "auto"?
# Version: ray 2.60.0 (Linux, Python 3.11).
# Guess: once `ray get-auth-token --generate` has made a token in ~/.ray, `ray start --head` asks for it, and a program
#        of the same user reads it there, whether it asks for "auto" or for HOST:PORT, which name the same cluster.
# Real:  with "auto" the client learns that tokens are wanted, and connects. With HOST:PORT it sends none: for half a
#        minute "Unauthenticated" goes to the log, then comes ConnectionError "Failed to connect to Ray cluster", which
#        says nothing of tokens. RAY_AUTH_MODE=token in the client's environment mends it.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
export HOME=$folder RAY_USAGE_STATS_ENABLED=0
unset RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH
cd "$folder"
python3 -m venv venv
trap 'venv/bin/ray stop --force >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT
venv/bin/pip install --quiet ray==2.60.0
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
venv/bin/ray get-auth-token --generate >/dev/null 2>&1
venv/bin/ray start --head --port "$port" --num-cpus 1 --include-dashboard false >start.log 2>&1
address=$(sed -n "s/.*ray start --address='\([^']*\)'.*/\1/p" start.log)
connect() { # the answer to one way of asking
    venv/bin/python - "$1" <<'PYTHON' 2>/dev/null
import sys
import ray

try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=50)
    print("connected,", int(ray.cluster_resources()["CPU"]), "core")
except Exception as error:
    print(f"{type(error).__name__}: {str(error).split(' at ')[0]}")
PYTHON
}
auto=$(connect auto)
plain=$(connect "$address")
told=$(RAY_AUTH_MODE=token connect "$address")
printf 'auto: %s\nHOST:PORT: %s\nHOST:PORT with RAY_AUTH_MODE=token: %s\n' "$auto" "$plain" "$told"
[[ $auto == connected* && $told == connected* && $plain == "ConnectionError: Failed to connect to Ray cluster" ]]
