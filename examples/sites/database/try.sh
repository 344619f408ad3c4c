#!/bin/bash
# Tries it on this machine: openssl stands for two databases, with a certificate each, and for the client.
. "$(dirname "$0")/../begin.sh"
database() { # NAME ADDRESS
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -days 1 \
		-keyout "$state/$1.key" -out "$state/$1.pem" 2>/dev/null
	openssl s_server -accept "$2" -cert "$state/$1.pem" -key "$state/$1.key" -www -quiet >>"$state/log" 2>&1 &
	answers "https://$2/"
}
client() {
	openssl s_client -nameopt RFC2253 -connect localhost:5432 -servername "$1.db.example.org" </dev/null 2>&1 |
		grep -E '^subject|alert|errno'
}

database orders localhost:5433
database users localhost:6379
edge run -c edge.toml --set 'upstreams.orders.backends=[{address="localhost:5433"}]' \
	--set 'upstreams.users.backends=[{address="localhost:6379"}]' >>"$state/log" 2>&1 &
until grep -q '"listening"' "$state/log"; do kill -0 $! || { cat "$state/log"; exit 1; }; sleep 0.1; done

expect 'subject=CN=orders' client orders
expect 'subject=CN=users' client users
expect '' client unknown
