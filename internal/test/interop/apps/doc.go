// Package apps puts edge in front of applications that people run, and asks them: through edge, and directly, for the
// answers have to be the same.
//
//	Go, git, node ── HTTP/1, HTTP/2, plain, TLS ──► edge ── h1, h2c ──► Express, Django, docker-registry, git,
//	       └──────────────────── directly ────────────────────────────► Prometheus, Vite, grpc-go, nginx, http.server
//
// It is a package of tests with the build tag apps: make interop-apps runs it. What the machine lacks is installed, by
// apt-get and by npm into the user's cache; what cannot be had is skipped. A summary says what was asked of each.
package apps
