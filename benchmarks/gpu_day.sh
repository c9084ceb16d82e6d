#!/usr/bin/env bash
# Everything that only a GPU can tell, in under nine minutes, without a network: see docs/gpu-day.md, or --help.
#
#   benchmarks/gpu_day.sh --prepare DIR               on a workstation: needs the exporter, no GPU
#   benchmarks/gpu_day.sh DIR --libraries FOLDER      on the machine with the GPU
#
# FOLDER (or EDGEDET_LIBRARIES; several with : between them) holds unpacked wheels or libraries. It comes first on
# PYTHONPATH, and every folder in it that holds a shared library on LD_LIBRARY_PATH. PYTHON names another interpreter.
set -euo pipefail

fail() { echo "error: $1" >&2; exit 2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
libraries=${EDGEDET_LIBRARIES:-}
words=("$@")
for ((i = 0; i < ${#words[@]}; i++)); do
  case ${words[i]} in
    --libraries) libraries=${words[i + 1]:-} ;;
    --libraries=*) libraries=${words[i]#*=} ;;
  esac
done

python=${PYTHON:-}
if [[ -z $python ]]; then
  if [[ -x $here/../.venv/bin/python ]]; then python=$here/../.venv/bin/python; else python=python3; fi
fi
command -v "$python" >/dev/null || fail "$python not found; say which Python to use: PYTHON=/path/to/python3 $0 ..."

paths=()
folders=()
IFS=: read -ra given <<<"$libraries"
for folder in "${given[@]:-}"; do
  [[ -n $folder ]] || continue
  [[ -d $folder ]] || fail "$folder is no folder; --libraries wants one of unpacked wheels or libraries"
  folder=$(cd "$folder" && pwd)
  if compgen -G "$folder/*.whl" >/dev/null && [[ -z $(find -L "$folder" -mindepth 2 -name '*.py' -print -quit) ]]; then
    fail "$folder holds wheels that are not unpacked: cd $folder; for w in *.whl; do python3 -m zipfile -e \$w .; done"
  fi
  paths+=("$folder")
  while IFS= read -r found; do folders+=("$found"); done \
    < <(find -L "$folder" -name 'lib*.so*' -printf '%h\n' 2>/dev/null | sort -u)
done

join() { local IFS=:; echo "$*"; }
# The repository before all else: an edgedet that is installed beside it is not the one to measure.
PYTHONPATH=$(join "$here" "$(cd "$here/.." && pwd)" ${paths[@]+"${paths[@]}"} ${PYTHONPATH:+"$PYTHONPATH"})
export PYTHONPATH
if ((${#folders[@]})); then
  LD_LIBRARY_PATH=$(join "${folders[@]}" ${LD_LIBRARY_PATH:+"$LD_LIBRARY_PATH"})
  export LD_LIBRARY_PATH
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$python is older than 3.10; say PYTHON=/path/to/python3"
exec "$python" -m gpu_day "$@"
