package main

import (
	"path/filepath"
	"testing"
)

const explained = `
[http]
listen = ":8080"
[[routes]]
name = "api"
pattern = "/api/*"
dest = "10.0.0.1:3000, 10.0.0.2:3000"
`

// The binary says on stdout what becomes of the request that its flags describe, and leaves with 0 whatever that is.
func TestExplain(t *testing.T) {
	dir := folder(t, map[string]string{"edge.toml": explained, "wrong.toml": "[htp]\n"})
	commands(t, dir,
		command{"explain http://localhost:8080/api/x", 0, "route api /api/* (edge.toml:4) -> upstream |" +
			"50.0 % 10.0.0.1:3000"},
		command{"explain /api --set http.listen=:8081", 0, "as if it came to :8081"},
		command{"explain /api -X PUT -H X-Beta:1", 0, "PUT /api HTTP/1.1|X-Beta: 1"},
		command{"explain / --client-ip 10.9.8.7", 0, "from 10.9.8.7|404 edge:route|the nearest is api"},
		command{"explain /api --json", 0, `"sent": [|"GET /api HTTP/1.1"|"odds": 0.5`},
		command{"explain ", 2, "takes one URL, got 0"},
		command{"explain a b", 2, "takes one URL, got 2"},
		command{"explain ftp://a/", 2, "http://, https:// or tcp://"},
		command{"explain tcp://a", 2, "tcp://host:port"},
		command{"explain tcp://a:1 -X GET", 2, "without method"},
		command{"explain / -H X", 2, `"Name: value"`},
		command{"explain / --client-ip me", 2, "--client-ip takes an IP address"},
		command{"explain / -c wrong.toml", 1, "wrong.toml:1:"},
		command{"explain / -c missing.toml", 1, "missing.toml"},
	)
}

const explainedServices = `
[http]
listen = ":8080"
[services.db]
type = "tcp"
listen = ":5432"
dest = "pg"
proxy_protocol.from = "10.0.0.0/8"
access_log = { path = "stderr", format = "common" }
[services.secure]
type = "tcp"
listen = ":5433"
dest = "10.0.0.9:1"
cert = "internal"
client_auth = "require"
client_ca = "ca.pem"
timeouts.idle = "5m"
[upstreams.pg]
load_balancing = "ketama"
backends = [ { address = "10.0.0.7:1" }, { address = "10.0.0.8:1", weight = 0 } ]
failover = "10.0.0.9:1"
proxy_protocol = "v1"
[log]
sample = 0.1
`

// So it does of a connection to a TCP service, by its address.
func TestExplain_services(t *testing.T) {
	const requests = "|!retry.|!first_byte|!sample" // there are none
	commands(t, filepath.Dir(write(t, "%s", explainedServices)),
		command{"explain tcp://localhost:5432", 0, "connect tcp://localhost:5432 from 192.0.2.1|service db :5432 " +
			"(edge.toml:4)|a header of the PROXY protocol tells|(edge.toml:8)|PROXY protocol (v1)|" +
			"upstream 10.0.0.9:1 is tried|pg (edge.toml:18): ketama by client_ip, tcp|100.0 % 10.0.0.7:1|" +
			"timeouts.idle 1h default|log common to stderr|--client-ip names another|" +
			"other services secure (edge.toml:10): its port is 5433, not 5432" + requests},
		command{"explain tcp://a.example:5433/ --client-ip ::1", 0, "secure :5433 (edge.toml:10), TLS|" +
			"without a valid|timeouts.idle 5m edge.toml:17|log json to stdout" + requests},
		command{"explain tcp://a.example:5433 --json", 0, `"sni": "a.example"|"protocol": "tcp"` + requests},
		command{"explain tcp://localhost:8080", 0,
			"service none: HTTP is spoken there, by the listener :8080" + requests},
		command{"explain tcp://localhost:1", 0, "service none: no service takes it" + requests},
	)
}
