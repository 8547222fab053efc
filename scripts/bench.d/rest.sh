#!/bin/bash
# The monitor awake and at rest, as JSON: rest.sh SHIM SECONDS BUNDLE ROOT
#
# A shell and not Python: another Python that maps the same files would halve the PSS.
set -euo pipefail
shim=$1 seconds=$2 bundle=$3 root=$4

# with hooks: the spawner starts with the first delivery
cat >"$bundle/hooks.json" <<JSON
{"lifecycle": {"postStart": {"exec": {"command": ["/bin/true"]}}, "preStop": {"exec": {"command": ["/bin/true"]}}}}
JSON
"$shim" --root "$root" run -d --lifecycle "$bundle/hooks.json" --bundle "$bundle" rest </dev/null >/dev/null
trap '"$shim" --root "$root" delete --force rest' EXIT

while "$shim" --root "$root" state rest | grep -q '"phase": "starting"'; do :; done
monitor=$("$shim" --root "$root" state rest | sed -n 's/.*"monitorPid": *\([0-9]*\).*/\1/p')
[ -n "$monitor" ] || { echo "rest: state shows no monitorPid" >&2; exit 1; }

# ours: the monitor, and its spawner while it has one
processes() {
    local child
    echo "$monitor"
    for child in $(cat "/proc/$monitor/task/$monitor/children"); do
        case $(readlink "/proc/$child/exe") in *shim-executor*) echo "$child" ;; esac
    done
}
sum() { # FIELD of smaps_rollup, in KiB
    local pid
    for pid in $(processes); do cat "/proc/$pid/smaps_rollup"; done | awk -v key="$1:" '$1 == key { n += $2 } END { print n }'
}
switches() {
    local pid
    for pid in $(processes); do cat "/proc/$pid"/task/*/status; done | awk '/ctxt_switches/ { n += $2 } END { print n }'
}

awake_pss=$(sum Pss) awake_rss=$(sum Rss) awake_processes=$(processes | wc -l)

# it goes to rest when nothing has happened for a while (shim/engine/park.py); if it does not, it is measured as it is
for _ in $(seq 100); do
    case $(readlink "/proc/$monitor/exe") in *shim-executor*) break ;; esac
    read -r -t 0.1 <> <(:) || true
done
before=$(switches)
sleep "$seconds"
after=$(switches)
at_rest="\"pss_kib\": $(sum Pss), \"rss_kib\": $(sum Rss), \"processes\": $(processes | wc -l)"

# what waking costs: from the command `shim stop` to the start of PreStop
asked=$(date +%s%N)
"$shim" --root "$root" stop -t 1 --no-wait rest
"$shim" --root "$root" wait rest >/dev/null || true # sleep, as PID 1, ends by SIGKILL
started=$("$shim" --root "$root" hooks --format json rest | grep -o '"startedAt": *"[^"]*"' | tail -n 1 | cut -d '"' -f 4)
wake_usec=$((($(date -d "$started" +%s%N) - asked) / 1000))
cat <<JSON
{$at_rest, "wake_usec": $wake_usec,
 "awake_pss_kib": $awake_pss, "awake_rss_kib": $awake_rss, "awake_processes": $awake_processes,
 "switches": $((after - before)), "seconds": $seconds}
JSON
