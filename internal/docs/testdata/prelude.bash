# What the blocks of a page find in their shell, beside edge itself, which is $EDGE. $ROOT is the root of the module.
set -euo pipefail
server= demos= output=/dev/null log=$PWD/server.log
trap 'code=$?; [ $code = 0 ] || { echo "$where: exit code $code"; cat "$output" "$log"
		"$EDGE" stop --now --pid-file "$DIR/edge.pid" || true; } >&4 2>&1
	kill -KILL $server $demos 2>/dev/null || true' EXIT
exec 4>&1

# start runs edge in the background until the next start. It returns when edge serves.
start() {
	[ -z "$server" ] || { kill -INT $server || true; wait $server || true; } 2>/dev/null
	: >"$log"
	"$EDGE" "$@" >>"$log" 2>&1 & server=$!
	until grep -q 'msg.*listening' "$log"; do
		kill -0 $server 2>/dev/null || { server=; return 1; }
		sleep 0.02
	done
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
	command make --no-print-directory -C "$ROOT" -n "$@" >/dev/null
	[ "${1-}" != run ] || start proxy --from :8080 --to localhost:3000
}

printf 'curl\n' >bots.txt
printf '192.0.2.0/24 DE\n' >country.txt

for port in :3000 :3001 :3002; do
	"$EDGE" serve-demo --listen 127.0.0.1$port >/dev/null 2>&1 & demos+=" $!"
	until command curl -sf http://127.0.0.1$port/ >/dev/null; do kill -0 $!; sleep 0.02; done
done
where=prelude
start proxy --from :8080 --to localhost:3000
