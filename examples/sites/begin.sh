# The scripts of the sites begin with this one. It goes to the folder of the site and has functions to start programs, which
# end with the script. Where ports below 1024 are not free, each script says what it changes.
set -euo pipefail
cd "$(dirname "$0")"
state=$(mktemp -d)
export STATE_DIRECTORY=$state RUNTIME_DIRECTORY=$state
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$state"' EXIT

# needs PROGRAM HINT ends the script where a program is not there, and says how to get it.
needs() { command -v "$1" >/dev/null || { echo "FAILED: $1 is not on the PATH: $2" >&2; exit 1; }; }

# unused URL ends the script where another program answers already: it would be tried in place of ours.
unused() {
	! curl -sk -m 10 -o /dev/null "$1" || { echo "FAILED: another program answers at $1" >&2; exit 1; }
}

# origin ADDRESS is a backend that answers with the request, the address or a status: edge serve-demo --help.
origin() {
	unused "http://$1/"
	edge serve-demo --listen "$1" >>"$state/log" 2>&1 &
	answers "http://$1/"
}

# start FILE SETTING… starts edge with a file.
start() {
	local file=$1 settings=() one
	shift
	for one; do settings+=(--set "$one"); done
	edge run -c "$file" "${settings[@]}" >>"$state/log" 2>&1 &
}

# serve URL SETTING… starts edge with the file of the site, and returns when it answers at a URL.
serve() {
	local url=$1
	unused "$url"
	shift
	start edge.toml "$@"
	answers "$url"
}

# answers URL waits for a program that has just been started, two minutes at most. Options of curl may stand before the URL.
answers() {
	local since=$SECONDS
	until curl -sk -m 10 -o /dev/null "$@"; do
		kill -0 $! 2>/dev/null && ((SECONDS - since < 120)) ||
			{ echo "FAILED: $* does not answer" >&2; cat "$state/log" >&2; exit 1; }
		sleep 0.1
	done
}

# expect TEXT COMMAND… prints what a command prints, and ends the script where the text is not in it.
expect() {
	local want=$1 got
	shift
	echo "+ $*"
	got=$("$@") || true
	echo "$got"
	[[ $got == *$want* ]] || { echo "FAILED: no \"$want\"" >&2; cat "$state/log" >&2; exit 1; }
}

# head_of URL… prints the fields of an answer to GET.
head_of() { curl -sk -o /dev/null -D - "$@"; }

# status URL… prints the status of each answer, and how often in turn.
status() { curl -sk -o /dev/null -w '%{http_code}\n' "$@" | uniq -c; }
