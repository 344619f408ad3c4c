#!/bin/bash
# Tries the application on this machine: on port 8443, with a certificate of edge's own authority.
. "$(dirname "$0")/../begin.sh"
origin 127.0.0.1:3000
serve https://localhost:8443/ https.listen=:8443 'https.protocols=["h1", "h2"]' http.listen=:8080 https.cert=internal
at=(--connect-to ::localhost:8443 https://app.example.org)

expect '<title>app</title>' curl -sk "${at[@]}/"
expect '<title>app</title>' curl -sk "${at[@]}/settings/profile"
expect 'immutable' curl -skI "${at[@]}/assets/app.3f2a.js"
expect 'no-cache' curl -skI "${at[@]}/"
expect 'GET /echo' curl -sk "${at[@]}/api/echo"
