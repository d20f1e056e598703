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

# meant: what the policies of hack/demo/shop mean for the ends that there are, a line a
# pair: FROM TO yes, or FROM TO no DIRECTION TIER POLICY RULE.
meant() {
  local from to rest
  while read -r from to rest; do
    if [[ " ${ends[*]} " == *" $from "* && " ${ends[*]} " == *" $to "* ]]; then echo "$from $to $rest"; fi
  done <<'END'
shop/frontend shop/backend yes
shop/frontend shop/db no Ingress Namespace pnp/shop/db (isolated)
shop/frontend outsider/stranger yes
shop/frontend shop/billing yes
shop/backend shop/frontend yes
shop/backend shop/db yes
shop/backend outsider/stranger yes
shop/backend shop/billing yes
shop/db shop/frontend no Egress Namespace pnp/shop/db (isolated)
shop/db shop/backend no Egress Namespace pnp/shop/db (isolated)
shop/db outsider/stranger no Egress Namespace pnp/shop/db (isolated)
shop/db shop/billing no Egress Namespace pnp/shop/db (isolated)
outsider/stranger shop/frontend no Ingress Admin cwp/no-outsiders outsiders
outsider/stranger shop/backend no Ingress Admin cwp/no-outsiders outsiders
outsider/stranger shop/db no Ingress Admin cwp/no-outsiders outsiders
outsider/stranger shop/billing yes
shop/billing shop/frontend yes
shop/billing shop/backend yes
shop/billing shop/db no Ingress Namespace pnp/shop/db (isolated)
shop/billing outsider/stranger yes
END
}

# expected: the same, as reach has it.
expected() { meant | cut -d' ' -f1-3; }

check() { # FILE EXPECTED
  diff <(sort "$2") <(sort "$1") >"$work/diff" || fail "otherwise than expected (< expected, > seen):
$(cat "$work/diff")"
}

# who FILE: for every denied pair, who decided it, over each family; it has to be who is
# meant to.
who() {
  denials >"$work/flows"
  local from to seen family by want
  while read -r from to seen; do
    [[ $seen == no ]] || continue
    want=$(meant | sed -n "s|^$from $to no ||p")
    for family in "$(ip4 "$to")" "$(ip6 "$to")"; do
      by=$(jq -rs --arg from "$from" --arg to "$to" --arg addr "$family" '
        [.[] | select("\(.from.namespace)/\(.from.name)" == $from and "\(.to.namespace)/\(.to.name)" == $to
                      and .to.addr == $addr and .to.port == 8080 and .verdict == "Deny")] | last
        | if . == null then "" else [.direction, .tier, .policy, .rule] | map(. // "(nobody)") | join(" ") end' "$work/flows")
      [[ -n $by ]] || fail "no record says who denied $from -> $to ($family)"
      [[ $by == "$want" ]] || fail "$from -> $to ($family) was denied by \"$by\", not by \"$want\""
    done
    printf '  %-18s -> %-18s %s\n' "$from" "$to" "$by"
  done <"$1"
}

# agree FLAGS...: what the policies say without a packet, of the pairs of pods, is what is
# meant, and who decides too.
agree() {
  local code=0
  bin/palisade reach "$@" --port 8080/tcp -o json >"$work/pairs" || code=$?
  [[ $code == 3 ]] || fail "reach ended with $code: 3 is what says that a pair is denied"
  jq -r --arg pods " ${pods[*]} " '.[] | select(.from != .to and ([.from, .to] | all(. as $p | $pods | contains(" \($p) "))))
    | "\(.from) \(.to) " + if .verdict == "Allow" then "yes" else
        (if .egress.verdict == "Deny" then ["Egress", .egress] else ["Ingress", .ingress] end)
        | "no \(.[0]) \(.[1].tier) \(.[1].policy) \(.[1].rule)" end' "$work/pairs" >"$work/reach"
  meant | grep -v "$billing" >"$work/meant"
  check "$work/reach" "$work/meant"
}
