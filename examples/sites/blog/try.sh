#!/bin/bash
# Tries the blog on this machine: on ports 8443 and 8080, with a certificate of edge's own authority.
. "$(dirname "$0")/../begin.sh"
origin 127.0.0.1:3000
blog=$!
serve https://localhost:8443/ https.listen=:8443 'https.protocols=["h1", "h2"]' http.listen=:8080 https.cert=internal
at=(--connect-to ::localhost:8443 https://blog.example.org)

expect 'Location: https://blog.example.org' curl -sI -H 'Host: blog.example.org' http://localhost:8080/
expect 'cache-status: edge; fwd=uri-miss' head_of "${at[@]}/"
expect 'cache-status: edge; hit' head_of "${at[@]}/"
expect '404' status "${at[@]}/admin/"

kill $blog
wait $blog || true
expect 'edge serve-demo' curl -sk "${at[@]}/"
expect '502' status "${at[@]}/admin/"
