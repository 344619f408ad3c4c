# What the blocks of a page find in their shell, beside edge itself, which is $EDGE. $ROOT is the root of the module.
set -euo pipefail
server= demos= output=/dev/null log=$PWD/server.log
trap 'code=$?; [ $code = 0 ] || { echo "$where: exit code $code"; cat "$output" "$log"
		"$EDGE" stop --now --pid-file "$DIR/edge.pid" || true; } >&4 2>&1
	kill -KILL $server $demos 2>/dev/null || true' EXIT
exec 4>&1
: >"$log"

# stop ends the edge that runs, without a connection that has to be cut.
stop() {
	[ -z "$server" ] || ! kill -TERM $server 2>/dev/null || wait $server
	server=
	! says 'grace period over'
}

# begin runs edge in the background until the next begin. It reaches no server of the Internet.
begin() {
	stop
	: >"$log"
	HTTPS_PROXY=http://127.0.0.1:1 "$EDGE" "$@" >>"$log" 2>&1 & server=$!
}

# await returns when a command succeeds, or fails when edge has ended.
await() {
	until "$@"; do
		kill -0 $server 2>/dev/null || { server=; return 1; }
		sleep 0.02
	done
}

# start is begin, and returns when edge serves, also at its admin socket.
start() {
	begin "$@"
	await says listening
	await says 'no admin surface' 'listening*section'
}

# says succeeds when one of the patterns is in the log. It starts no process: edge begins some hundred times.
says() {
	local text pattern
	IFS= read -rd '' text <"$log" || true
	for pattern; do
		# Without quotes it is a pattern.
		[[ $text != *$pattern* ]] || return 0
	done
	return 1
}

# serve runs edge.toml until the next start, and returns when each address that it listens on takes a connection.
serve() {
	case $(<edge.toml) in
	*error_log\ =*) begin run -c edge.toml ;; # the lines that start waits for are elsewhere
	*) start run -c edge.toml ;;
	esac
	local address
	for address in $(sed -n 's/#.*//; /listen\b.*[=:]/p' edge.toml | grep -oE 'unix:[^"]+|:[0-9]+\b'); do
		await accepts "$address"
	done
}

accepts() {
	case $1 in
	unix:*) command curl -s --max-time 20 --unix-socket "${1#unix:}" http://localhost/ >/dev/null || [ $? != 7 ] ;;
	*) (: </dev/tcp/127.0.0.1/"${1#:}") 2>/dev/null ;;
	esac
}

edge() {
	case ${1-} in
	run | proxy) start "$@" ;;
	*) "$EDGE" "$@" ;;
	esac
}

pidof() { echo "$server"; }
curl() { command curl --silent --show-error --max-time 20 "$@"; }
git() { mkdir -p edge; }
go() {
	case "$*" in
	"get github.com/edge-proxy/edge") ;;
	"build -o loadbalancer ./examples/loadbalancer") ln -s "$BALANCER" loadbalancer ;;
	*) false ;;
	esac
}

ln -s "$ROOT/examples" examples

make() {
	local word
	for word; do
		[[ $word == *=* ]] || grep -q "^$word:" "$ROOT/Makefile"
	done
	[ "${1-}" != run ] || start proxy --from :8080 --to localhost:3000
}

# edge trust leaves the store of this machine alone: another process may be changing it.
mkdir bin
printf '#!/bin/sh\n' >bin/update-ca-certificates
chmod +x bin/update-ca-certificates
PATH=$PWD/bin:$PATH

printf 'curl\n' >bots.txt
printf '192.0.2.0/24 DE\n' >country.txt

for port in :3000 :3001 :3002; do
	"$EDGE" serve-demo --listen 127.0.0.1$port >/dev/null 2>&1 & demos+=" $!"
	until command curl -sf http://127.0.0.1$port/ >/dev/null; do kill -0 $!; sleep 0.02; done
done
where=prelude
start proxy --from :8080 --to localhost:3000
