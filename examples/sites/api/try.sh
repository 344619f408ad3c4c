#!/bin/bash
# Tries the API on this machine: on port 8443, with a certificate of edge's own authority.
. "$(dirname "$0")/../begin.sh"
origin 127.0.0.1:3001
origin 127.0.0.1:3002
serve https://localhost:8443/ https.listen=:8443 http.listen=:8080 https.cert=internal
at=(--connect-to ::localhost:8443 https://api.example.org/v1)

expect '401' status "${at[@]}/echo"
expect 'X-Customer: ann' curl -sk -H 'X-Api-Key: k-1f8d2c' "${at[@]}/echo"
expect 'ratelimit: "by-key"' head_of -H 'X-Api-Key: k-77ab90' "${at[@]}/echo"
expect '429' status -H 'X-Api-Key: k-77ab90' "${at[@]}/addr?[1-200]"
expect '200' status -H 'X-Api-Key: k-1f8d2c' "${at[@]}/addr"
expect '429' status -H 'X-Api-Key: guess' "${at[@]}/addr?[1-20]"
