# Runs one server, and removes it and its directory when standard input closes, which is when the chore that started it
# ends, even by kill -9: the kernel closes the pipe. It also ends when the server does.
#
# Arguments: the directory, the signal that stops the server, the server's command.
set -u
directory=$1 signal=$2
shift 2
exec 3<&0 </dev/null
server='' watcher=''

finish() {
  trap '' EXIT INT TERM HUP
  [ -n "$watcher" ] && kill -PIPE "$watcher" 2>/dev/null # the only signal whose effect the shell does not report
  if [ -n "$server" ]; then
    # The server leads its own process group, unless it was stopped before it could create one.
    kill -s "$signal" -- "-$server" 2>/dev/null || kill -KILL "$server" 2>/dev/null
    for _ in {1..100}; do
      kill -0 -- "-$server" 2>/dev/null || break
      sleep 0.05
    done
    kill -KILL -- "-$server" 2>/dev/null
  fi
  rm -rf -- "$directory"
}
trap finish EXIT
trap 'exit 143' INT TERM HUP

cat <&3 >/dev/null &
watcher=$!
# Started last: the shell forgets a job that ends before another one is started, and could not wait for it.
setsid "$@" >"$directory/log" 2>&1 3<&- &
server=$!
wait -n "$server" "$watcher"

if ! kill -0 "$server" 2>/dev/null; then
  echo "the server ended by itself; the end of its log:" >&2
  tail -n 20 -- "$directory/log" >&2
  exit 1
fi
