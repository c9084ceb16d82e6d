#!/usr/bin/env bash
# Ray: does log_to_driver=False keep standard output to the program?
# Version: ray 2.60.0 (Linux, Python 3.11).
# Guess: with log_to_driver=False and logging_level=CRITICAL nothing of Ray's is written between a program's own
#        lines; what it has to say goes to its logs, or to standard error.
# Real:  where a worker ends on its own, paragraphs of "(raylet) A worker died or was killed ..." in colour codes are
#        written to standard output, not to standard error: a program that prints JSON lines prints broken ones.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HOME=$folder RAY_USAGE_STATS_ENABLED=0
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet ray==2.60.0
venv/bin/python - >out 2>err <<'PYTHON'
import os
import time

import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
print('{"line": 1}', flush=True)


@ray.remote(max_restarts=1, max_task_retries=1)
class Worker:
    def work(self, path):
        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(1)  # once
        return 7


assert ray.get(Worker.remote().work.remote(os.path.abspath("died"))) == 7
time.sleep(3)
print('{"line": 2}', flush=True)
PYTHON
echo "standard output: $(wc -l <out) lines, $(grep -c raylet out || true) of them Ray's; standard error: $(grep -c raylet err || true)"
grep raylet out | head -n 1 | cut -c 1-120 | cat -v
[[ $(grep -c raylet out) -ge 1 && $(grep -c '^{"line"' out) -eq 2 ]]
