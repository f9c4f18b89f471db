# Runs a server and waits for it: guard.sh STOP_SIGNAL GRACE_S COMMAND [ARGUMENT ...]
#
# Standard input is a pipe from the parent, which the watcher below reads: end of file means that the parent wants the
# server to stop or is gone itself, however that happened. It tells the server to stop, and kills it when it does not.
# "read" is built into the shell, so the watcher has no child of its own that could stay behind. The server's process id
# is written to file descriptor 3. The exit status is the server's.
stop_signal=$1; grace=$2; shift 2
exec 4<&0
"$@" </dev/null 3>&- 4<&- &
server=$!
echo "$server" >&3
exec 3>&- </dev/null
{
  while read -r line; do :; done
  kill -s "$stop_signal" "$server"
  waited=0
  while [ "$waited" -lt "$grace" ] && kill -0 "$server"; do sleep 1; waited=$((waited + 1)); done
  kill -s KILL "$server"
} <&4 >/dev/null 2>&1 &
watcher=$!
exec 4<&-
trap 'kill -s "$stop_signal" "$server" 2>/dev/null' HUP INT TERM
while :; do
  wait "$server"
  status=$?
  kill -0 "$server" 2>/dev/null || break
done
kill -s KILL "$watcher" 2>/dev/null
exit "$status"
