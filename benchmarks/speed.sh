#!/usr/bin/env bash
# Every speed that this project publishes, measured anew: benchmarks/results, docs/guide/speed.md and
# its pictures. Run it on an idle machine with all backends installed. Arguments go to speed.py: --data
# BSD100 --data-root FOLDER scores each row instead of quoting the cards. Ends with 1 when the data road
# of what everybody has installed costs more than its bar.
set -euo pipefail
cd "$(dirname "$0")/.."

guide=docs/guide/speed.md
missed=0
python3 benchmarks/speed.py --guide "$guide" --plots docs/images "$@"
if grep -q avx512 /proc/cpuinfo; then # else there is nothing to limit
    python3 benchmarks/speed.py --avx2 --guide "$guide" "$@"
fi
python3 benchmarks/road.py --guide "$guide" || missed=1
if python3 -c 'import openvino' 2>/dev/null; then
    # Twice as fast a network; its bar is not that of the default.
    python3 benchmarks/road.py --backend openvino --precision bfloat16 || true
fi
python3 benchmarks/growth.py --guide "$guide"
exit $missed
