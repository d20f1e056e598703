# shellcheck shell=bash
# shop.sh: the shop as both demos show it: who reaches whom, what is expected, and
# who decided. To be sourced. The demo that sources it defines
#
#   ip4 END, ip6 END       the addresses of an end
#   dial END TARGET...     bin/probe dial from there
#   denials                flow records of denied connections, JSON lines
#
# and sets work to a folder of its own.

bold=$'\e[1m' plain=$'\e[0m'
[[ -t 1 ]] || bold='' plain=''
step() { printf '\n%s[%3d s] %s%s\n' "$bold" $SECONDS "$*" "$plain"; }
run() { printf '$ %s\n' "$*"; "$@"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# The ends of all pairs: pods, and a host outside the cluster.
pods=(shop/frontend shop/backend shop/db outsider/stranger)
billing=shop/billing
ends=("${pods[@]}" "$billing")

# reach FILE: who reaches whom on TCP 8080, a line a pair: FROM TO yes|no. Both
# families are tried, and have to agree.
reach() {
  local from to targets dialling=()
  for from in "${ends[@]}"; do
    targets=()
    for to in "${ends[@]}"; do
      [[ $to == "$from" ]] || targets+=("tcp/$(ip4 "$to"):8080" "tcp/[$(ip6 "$to")]:8080")
    done
    dial "$from" "${targets[@]}" >"$work/dialled.${from#*/}" &
    dialling+=($!)
  done
  for from in "${dialling[@]}"; do wait "$from" || fail "an end could not dial"; done
  for from in "${ends[@]}"; do
    for to in "${ends[@]}"; do
      [[ $to == "$from" ]] || answer "$from" "$to"
    done
  done >"$1"
}

answer() { # FROM TO
  local said
  said=$(grep -F -e "\"tcp/$(ip4 "$2"):8080\"" -e "\"tcp/[$(ip6 "$2")]:8080\"" "$work/dialled.${1#*/}" | grep -o '"ok":[a-z]*' | sort | uniq -c | tr -s ' ')
  case $said in
    ' 2 "ok":true') echo "$1 $2 yes" ;;
    ' 2 "ok":false') echo "$1 $2 no" ;;
    *) echo "$1 $2 families-differ" ;;
  esac
}

matrix() { # FILE
  awk -v bold="$bold" -v plain="$plain" '
    !($1 in seen) { seen[$1] = 1; names[++n] = $1 }
    { cell[$1, $2] = $3 }
    END {
      printf "  %-18s", "from \\ to"; for (i = 1; i <= n; i++) printf "%-18s", names[i]; print ""
      for (i = 1; i <= n; i++) {
        printf "  %-18s", names[i]
        for (j = 1; j <= n; j++) printf "%-18s", i == j ? "." : cell[names[i], names[j]]
        print ""
      }
    }' "$1"
}

# expected: what the policies of hack/demo/shop mean for the ends that there are.
expected() {
  local from to answer
  while read -r from to answer; do
    if [[ " ${ends[*]} " == *" $from "* && " ${ends[*]} " == *" $to "* ]]; then echo "$from $to $answer"; fi
  done <<'END'
shop/frontend shop/backend yes
shop/frontend shop/db no
shop/frontend outsider/stranger yes
shop/frontend shop/billing yes
shop/backend shop/frontend yes
shop/backend shop/db yes
shop/backend outsider/stranger yes
shop/backend shop/billing yes
shop/db shop/frontend no
shop/db shop/backend no
shop/db outsider/stranger no
shop/db shop/billing no
outsider/stranger shop/frontend no
outsider/stranger shop/backend no
outsider/stranger shop/db no
outsider/stranger shop/billing yes
shop/billing shop/frontend yes
shop/billing shop/backend yes
shop/billing shop/db no
shop/billing outsider/stranger yes
END
}

check() { # FILE EXPECTED
  diff <(sort "$2") <(sort "$1") >"$work/diff" || fail "the kernel judged otherwise than expected (< expected, > seen):
$(cat "$work/diff")"
}

# who FILE: for every denied pair, who decided it, over each family.
who() {
  denials >"$work/flows"
  local from to seen family by
  while read -r from to seen; do
    [[ $seen == no ]] || continue
    for family in "$(ip4 "$to")" "$(ip6 "$to")"; do
      by=$(jq -rs --arg from "$from" --arg to "$to" --arg addr "$family" '
        [.[] | select("\(.from.namespace)/\(.from.name)" == $from and "\(.to.namespace)/\(.to.name)" == $to
                      and .to.addr == $addr and .to.port == 8080)] | last
        | if . == null then "" else "\(.direction) \(.tier) \(.policy) \(.rule)" end' "$work/flows")
      [[ -n $by ]] || fail "nobody says who denied $from -> $to ($family)"
    done
    printf '  %-18s -> %-18s %s\n' "$from" "$to" "$by"
  done <"$1"
}
