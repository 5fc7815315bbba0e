# Shared by the scripts beside it: named steps with their elapsed time, and one way to fail.
set -euo pipefail

project=$(unset CDPATH && cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$project/out/logs
script=$(basename "$0")
started=$SECONDS

# fail WHAT WHAT-TO-DO: ends the script.
fail() {
  printf '\n%s: failed: %s\n  what to do: %s\n' "$script" "$1" "$2" >&2
  exit 1
}

cache=${ATHANOR_CACHE:-${HOME:+$HOME/.cache/athanor}}
[ -n "$cache" ] || fail "neither HOME nor ATHANOR_CACHE is set" "let ATHANOR_CACHE name a folder for what has to be fetched"

# Prints the comment that a script opens with.
print_usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

# Scripts of one clone write to the same folders: the second waits until the first has ended. What they start does not
# inherit the turn (9>&-), or a process that outlives its script would keep it. A script that another one calls shares its
# turn: ATHANOR_TURN names the clone whose turn has been taken.
take_turn() {
  [ "${ATHANOR_TURN:-}" != "$project" ] || return 0
  { mkdir -p "$logs" && : >>"$logs/turn"; } 2>/dev/null || fail "$logs cannot be written" \
    "work in a clone of your own: git clone '$project'"
  exec 9>>"$logs/turn"
  export ATHANOR_TURN=$project
  flock -n 9 && return
  printf '%s: waiting until another script of this clone has ended\n' "$script" >&2
  flock 9
}

# Every clone on this machine uses the same cache: whoever comes second finds what the first has fetched. A script that holds the
# cache calls no other that may take it.
take_cache() {
  take_turn  # always first, or two scripts of one clone could wait for each other
  { mkdir -p "$cache" && : >>"$cache/turn"; } 2>/dev/null || fail "$cache cannot be written" \
    "let ATHANOR_CACHE name a folder that can"
  exec 8>>"$cache/turn"
  flock -n 8 && return
  printf '%s: waiting until another script has left %s\n' "$script" "$cache" >&2
  flock 8
}

leave_cache() { exec 8>&-; }

# has_wheels FOLDER WHEEL…: whether a Python environment holds each NAME or NAME==VERSION. A wheel is whole when its record is there:
# pip writes it last.
has_wheels() {
  local environment=$1 wheel name version
  shift
  for wheel in "$@"; do
    name=${wheel%%==*} version=${wheel#"${wheel%%==*}"}
    compgen -G "$environment/lib/python3*/site-packages/${name//-/_}-${version#==}*.dist-info/RECORD" >/dev/null || return 1
  done
}

# make_environment FOLDER PIP-ARGUMENTS…: a Python environment, made anew if an earlier attempt left half of one.
make_environment() {
  local environment=$1
  shift
  "$environment/bin/python" -c 'import pip' 2>/dev/null || python3 -m venv --clear "$environment"
  "$environment/bin/python" -m pip install --no-cache-dir --disable-pip-version-check "$@"
}

# step NAME COMMAND…: runs COMMAND with its output in a log; says the name, and how long it took. A command that fails
# ends the script with the end of its log.
step() {
  local name=$1 begun=$SECONDS log status
  shift
  take_turn
  log=$logs/$(tr -cs 'a-zA-Z0-9\n' '-' <<<"$script $name").log
  printf '%-44s ' "$script: $name"
  set +e
  (set -e; "$@") >"$log" 2>&1 </dev/null 8>&- 9>&-
  status=$?
  set -e
  if [ $status = 0 ]; then
    printf '%4d s\n' $((SECONDS - begun))
  else
    printf 'failed after %d s\n' $((SECONDS - begun))
    sed 's/^/  | /' <(tail -n 40 "$log") >&2
    fail "$name (whole log: $log)" "${advice:-read the last lines above, fix the cause, and run the same command again: steps that are done are kept}"
  fi
}

# build PRESET TARGETS…: configures and builds; says how far it is at each tenth.
build() {
  local preset=$1 begun=$SECONDS log=$logs/build-$1.log
  shift
  step "configure ($preset)" cmake --preset "$preset" -S "$project"
  printf '%-44s' "$script: build ($preset)"
  if ! cmake --build "$project/out/$preset" --target "${@:-all}" 2>&1 </dev/null 9>&- | tee "$log" | show_tenths; then
    printf ' failed after %d s\n' $((SECONDS - begun))
    grep -m 5 -A 12 -E 'error: |^FAILED' "$log" | sed 's/^/  | /' >&2 || tail -n 20 "$log" >&2
    fail "build ($preset) (whole log: $log)" "fix what the compiler reports above, and run the same command again"
  fi
  printf ' %4d s\n' $((SECONDS - begun))
}

# Reads a ninja log; prints each tenth that is reached.
show_tenths() {
  local line tenth last=0
  while IFS= read -r line; do
    [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] || continue
    tenth=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
    [ $tenth -le $last ] || printf ' %d%%' $((tenth * 10))
    last=$tenth
  done
}

finish() {
  printf '%s: %s, %d s in all\n' "$script" "$1" $((SECONDS - started))
}
