# shellcheck shell=bash disable=SC2034,SC2154 # parts share their variables
# Processes and cgroups. Everything that the cluster starts is put below cgroup $CGROUP of every
# hierarchy first, so that down can end exactly that, also when a pid file is lost.

# cgroup_hierarchies: "CONTROLLERS DIRECTORY" for each hierarchy, the directory being where ours go.
# That is the caller's own cgroup, whose limits we keep. Where version 2 is alone it is the root: a
# cgroup with processes in it, such as a login session's, can hand no controllers down.
cgroup_hierarchies() {
  local controllers path mount
  if only_cgroup2; then
    echo "cgroup2 $(cgroup2_mount)"
    return
  fi
  while IFS=: read -r _ controllers path; do
    case $controllers in
      "") mount=$(cgroup2_mount) ;;
      name=*) mount=/sys/fs/cgroup/${controllers#name=} ;;
      *) mount=/sys/fs/cgroup/$controllers ;;
    esac
    [[ -d $mount ]] && echo "${controllers:-cgroup2} $mount${path%/}"
  done </proc/self/cgroup
}

only_cgroup2() { ! grep -qv '^0:' /proc/self/cgroup; }
cgroup2_mount() { awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts; }
cgroup2_dir() { cgroup_hierarchies | sed -n 's/^cgroup2 //p'; }

# cgroup_enter PART: puts the calling subshell into $CGROUP/PART of every hierarchy.
cgroup_enter() {
  local controllers dir parent
  while read -r controllers dir; do
    for parent in "$dir/$CGROUP" "$dir/$CGROUP/$1"; do
      mkdir -p "$parent"
      # A cpuset that was just made is empty and takes no process.
      if [[ $controllers == cpuset && -z $(<"$parent/cpuset.cpus") ]]; then
        cat "${parent%/*}/cpuset.cpus" >"$parent/cpuset.cpus"
        cat "${parent%/*}/cpuset.mems" >"$parent/cpuset.mems"
      fi
      if only_cgroup2; then hand_down "${parent%/*}"; fi
    done
    echo "$BASHPID" >"$dir/$CGROUP/$1/cgroup.procs"
  done < <(cgroup_hierarchies)
}

# hand_down DIRECTORY: its children get the controllers that kubelet asks for.
hand_down() {
  local controller
  for controller in cpu cpuset hugetlb io memory pids; do
    if grep -qw "$controller" "$1/cgroup.controllers" && ! grep -qw "$controller" "$1/cgroup.subtree_control"; then
      echo "+$controller" >"$1/cgroup.subtree_control"
    fi
  done
}

# cgroup_dirs: the directories called $CGROUP, in whichever cgroup up was run.
cgroup_dirs() { find /sys/fs/cgroup -type d -name "$CGROUP" -prune 2>/dev/null || true; }

# cgroup_kill: ends every process of the cluster at once and waits until none is left.
cgroup_kill() {
  local dir pid end=$((SECONDS + 20))
  for dir in $(cgroup_dirs); do
    if [[ -w $dir/cgroup.kill ]]; then echo 1 >"$dir/cgroup.kill"; fi
  done
  while pids=$(cgroup_pids) && [[ -n $pids ]]; do
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
    ((SECONDS < end)) || { echo "cluster: processes do not end: $(echo $pids)" >&2; return 1; }
    sleep 0.05
  done
}

cgroup_pids() {
  local dir
  for dir in $(cgroup_dirs); do find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done | sort -u
}

# cgroup_remove: a cgroup can stay busy for a moment after its last process has gone.
cgroup_remove() {
  local dir end=$((SECONDS + 10))
  for dir in $(cgroup_dirs); do
    until find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null; do
      [[ -d $dir ]] || break
      ((SECONDS < end)) || { echo "cluster: cgroup $dir stays busy" >&2; return 1; }
      sleep 0.05
    done
  done
}

# spawn NAME COMMAND...: a daemon in a session and a cgroup of its own, with a log and a pid file.
# It inherits neither our terminal nor our lock.
spawn() {
  local name=$1
  shift
  (
    echo "$BASHPID" >"$RUN/$name.pid"
    cgroup_enter "$name"
    exec setsid "$@"
  ) >"$LOGS/$name.log" 2>&1 </dev/null 9>&- &
  # The child writes the file; whoever asks "alive" next must find it.
  until [[ -s $RUN/$name.pid ]]; do sleep 0.01; done
}

alive() { [[ -s $RUN/$1.pid ]] && kill -0 "$(<"$RUN/$1.pid")" 2>/dev/null; }
