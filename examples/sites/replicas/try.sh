#!/bin/bash
# Tries the replicas on this machine: three of them, a balancer, etcd, and Pebble, an authority for tests, which looks for
# its proofs at the balancer. All are at ports above 1024.
. "$(dirname "$0")/../begin.sh"
needs etcd 'apt-get install etcd-server, or https://etcd.io'
needs pebble 'go install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1'
needs pebble-challtestsrv 'go install github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@v2.10.1'
needs openssl 'apt-get install openssl'

host=www.example.org
balancer=(127.0.0.1:8080 127.0.0.1:8443)
http=(127.0.0.1:8081 127.0.0.1:8082 127.0.0.1:8083)
https=(127.0.0.1:8444 127.0.0.1:8445 127.0.0.1:8446)
etcd=http://127.0.0.1:12379 peer=http://127.0.0.1:12380 # no etcd that runs already
authority=127.0.0.1:14000 roots=127.0.0.1:15000 names=127.0.0.1:8053

etcd --data-dir "$state/etcd" --listen-client-urls $etcd --advertise-client-urls $etcd --listen-peer-urls $peer \
	--initial-advertise-peer-urls $peer --initial-cluster default=$peer >>"$state/log" 2>&1 &
answers $etcd/health

# All names lead to the balancer, for Pebble alone.
pebble-challtestsrv -dnsserver $names -defaultIPv4 127.0.0.1 -defaultIPv6 '' -management 127.0.0.1:8055 \
	-http01 '' -https01 '' -tlsalpn01 '' -doh '' >>"$state/log" 2>&1 &
answers http://127.0.0.1:8055/

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pebble -days 1 \
	-addext subjectAltName=IP:127.0.0.1 -keyout "$state/pebble.key" -out "$state/pebble.pem" 2>/dev/null
cat >"$state/pebble.json" <<END
{"pebble": {"listenAddress": "$authority", "managementListenAddress": "$roots",
"certificate": "$state/pebble.pem", "privateKey": "$state/pebble.key",
"httpPort": ${balancer[0]#*:}, "tlsPort": ${balancer[1]#*:}}}
END
PEBBLE_VA_NOSLEEP=1 pebble -config "$state/pebble.json" -dnsserver $names >>"$state/log" 2>&1 &
answers https://$authority/dir
answers https://$roots/roots/0
curl -sk -o "$state/roots.pem" https://$roots/roots/0

# backends ADDRESS… makes a list of backends.
backends() { printf '[%s]' "$(printf '{address="%s"},' "$@")"; }

# replica NUMBER starts a replica with a new folder, as on a machine of its own.
replica() {
	local own http=${http[$1]} https=${https[$1]}
	own=$(mktemp -d "$state/XXXX")
	STATE_DIRECTORY=$own RUNTIME_DIRECTORY=$own start edge.toml "http.listen=$http" "https.listen=$https" \
		"acme.http_port=${http#*:}" "acme.https_port=${https#*:}" "acme.storage=etcd://${etcd#*//}/edge" \
		"acme.ca=https://$authority/dir" "acme.ca_file=$state/pebble.pem" acme.challenge=http-01 \
		"upstreams.site.backends=$(backends 127.0.0.1:3000)" \
		'http.proxy_protocol.from=["127.0.0.0/8"]' 'https.proxy_protocol.from=["127.0.0.0/8"]'
}

origin 127.0.0.1:3000
start balancer.toml "services.http.listen=${balancer[0]}" "services.https.listen=${balancer[1]}" \
	"upstreams.http.backends=$(backends "${http[@]}")" "upstreams.https.backends=$(backends "${https[@]}")"
for n in 0 1 2; do
	replica $n
	pids[n]=$!
done
for at in "${https[@]}"; do answers --connect-to "::$at" https://$host/; done

# serials prints the serial number of each replica's certificate, and how often in turn.
serials() {
	for at in "${https[@]}"; do
		openssl s_client -connect "$at" -servername $host </dev/null 2>/dev/null | openssl x509 -noout -serial
	done | uniq -c
}

# asked prints the replicas that Pebble has asked for a proof, three times at once, and the statuses that it got.
asked() {
	local lines
	for _ in {1..50}; do
		lines=$(sed -nE 's,.*"listener":"([^"]*)".*/acme-challenge/.*"status":([0-9]+).*,\1 \2,p' "$state/log")
		(($(wc -l <<<"$lines") < 3)) || break # lines come up to a second later
		sleep 0.1
	done
	echo "$lines"
}

# keys prints the keys in etcd from edge/ to edge0.
keys() {
	local key
	curl -s $etcd/v3/kv/range -d '{"key": "ZWRnZS8=", "range_end": "ZWRnZTA=", "keys_only": true}' |
		grep -o '"key":"[^"]*' | while IFS= read -r key; do base64 -d <<<"${key#*:?}" && echo; done
}

# requests sends nine requests to the balancer, each on a connection of its own, and prints the statuses.
requests() {
	for _ in {1..9}; do
		curl -s -o /dev/null -w '%{http_code}\n' --cacert "$state/roots.pem" --connect-to "::${balancer[1]}" https://$host/
	done | uniq -c
}

expect ' 3 serial=' serials
expect ' 200' asked
expect "/$host.key" keys
expect ' 9 200' requests

# One is lost. Another one with nothing of its own takes its place.
kill -9 "${pids[0]}"
wait "${pids[0]}" 2>/dev/null || true
expect ' 9 200' requests
replica 0
answers --connect-to "::${https[0]}" https://$host/
expect ' 3 serial=' serials
expect '1' grep -c 'Issued certificate' "$state/log"
