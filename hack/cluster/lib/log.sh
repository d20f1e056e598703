# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# What the user sees: one line per step with the seconds since the start.

started_at=${EPOCHREALTIME/[.,]/}

say() {
  local us=$((${EPOCHREALTIME/[.,]/} - started_at))
  printf '%s [%3d.%ds] %s\n' "$CLUSTER" $((us / 1000000)) $((us / 100000 % 10)) "$*" >&2
}

# die MESSAGE: the reason is one line; failed_log, when set, names the log that explains it.
failed_log=
die() {
  printf 'cluster: %s\n' "$*" >&2
  if [[ -n $failed_log && -s $failed_log ]]; then
    printf -- '--- last lines of %s\n' "$failed_log" >&2
    tail -n 25 "$failed_log" >&2
    printf -- '---\n' >&2
  fi
  exit 1
}

# wait_until SECONDS NAME WHAT COMMAND...: polls COMMAND; gives up early when daemon NAME has
# died, and blames its log. PALISADE_PATIENCE=N waits N times as long (emulated machines).
wait_until() {
  local limit=$(($1 * ${PALISADE_PATIENCE:-1})) name=$2 what=$3 end
  end=$((SECONDS + limit))
  shift 3
  until "$@" >/dev/null 2>&1; do
    failed_log=$LOGS/$name.log
    alive "$name" || die "$name ended while waiting for $what"
    ((SECONDS < end)) || die "$what: not after $limit s"
    sleep 0.1
  done
  failed_log=
}
