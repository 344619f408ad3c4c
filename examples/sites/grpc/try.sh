#!/bin/bash
# Tries it on this machine: on port 8443, with a certificate of edge's own authority; curl sends an empty
# message by gRPC-Web, as a browser does, since it shows no trailer fields. The backend hears gRPC.
. "$(dirname "$0")/../begin.sh"
go build -o "$state/backend" backend/main.go
"$state/backend" localhost:50051 &
serve https://localhost:8443/ https.listen=:8443 https.cert=internal
call() {
	printf '\0\0\0\0\0' | curl -ski --connect-to ::localhost:8443 -H 'Content-Type: application/grpc-web' \
		--data-binary @- "https://grpc.example.org/$1" | tr -d '\000\200'
}

expect 'grpc-status: 0' call demo.Greeter/Hello
expect 'x-method: /demo.Greeter/Hello' call demo.Greeter/Hello
expect 'grpc-status: 12' call demo.Other/Hello
