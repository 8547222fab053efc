#!/bin/bash
# The monitor at rest, as JSON: rest.sh SHIM SECONDS BUNDLE ROOT
#
# A shell and not Python: another Python that maps the same files would halve the PSS.
set -euo pipefail
shim=$1 seconds=$2 bundle=$3 root=$4

# with hooks: the spawner starts with the first delivery and stays
cat >"$bundle/hooks.json" <<JSON
{"lifecycle": {"postStart": {"exec": {"command": ["/bin/true"]}}, "preStop": {"exec": {"command": ["/bin/true"]}}}}
JSON
"$shim" --root "$root" run -d --lifecycle "$bundle/hooks.json" --bundle "$bundle" rest </dev/null >/dev/null
trap '"$shim" --root "$root" stop --now rest >/dev/null 2>&1; "$shim" --root "$root" delete rest' EXIT

while "$shim" --root "$root" state rest | grep -q '"phase": "starting"'; do :; done
monitor=$("$shim" --root "$root" state rest | sed -n 's/.*"monitorPid": *\([0-9]*\).*/\1/p')
[ -n "$monitor" ] || { echo "rest: state shows no monitorPid" >&2; exit 1; }

spawner=
for child in $(cat "/proc/$monitor/task/$monitor/children"); do
    case $(readlink "/proc/$child/exe") in
        *shim-executor*) spawner=$child ;;
    esac
done
[ -n "$spawner" ] || { echo "rest: monitor $monitor has no spawner" >&2; exit 1; }

memory() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$1/smaps_rollup"; }
switches() { cat "/proc/$monitor"/task/*/status "/proc/$spawner"/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'; }

# let it finish starting: the first window ends when a whole second passed without a switch
for _ in 1 2 3 4 5 6 7 8 9 10; do
    before=$(switches)
    sleep 1
    [ "$(switches)" != "$before" ] || break
done
before=$(switches)
sleep "$seconds"
after=$(switches)

pss_monitor=$(memory "$monitor" Pss) pss_spawner=$(memory "$spawner" Pss)
rss_monitor=$(memory "$monitor" Rss) rss_spawner=$(memory "$spawner" Rss)
private=$(awk '/^Private_(Clean|Dirty):/ { n += $2 } END { print n }' "/proc/$monitor/smaps_rollup")
cat <<JSON
{"pss_kib": $((pss_monitor + pss_spawner)), "pss_monitor_kib": $pss_monitor, "pss_spawner_kib": $pss_spawner,
 "rss_kib": $((rss_monitor + rss_spawner)), "rss_monitor_kib": $rss_monitor, "rss_spawner_kib": $rss_spawner,
 "private_monitor_kib": $private, "switches": $((after - before)), "seconds": $seconds}
JSON
