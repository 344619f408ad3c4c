package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// policies has a filter of each type that decides over requests, each for a path of its own.
const policies = `
[metrics]
listen = %q

[global]
grace_period = "100ms"

[[listeners]]
listen = "127.0.0.1:0"
trusted_proxies = ["127.0.0.1"]

[upstreams.demo]
backends = [{ address = %q }]

[lists]
bots = ["192.0.2.66"]

[filters.fair]
type = "rate_limit"
rate = "%d/h"

[filters.keys]
type   = "rate_limit"
key    = "{header.x-key}"
rate   = "1/h"
status = 503
when   = 'has(header.x-key)'

[filters.office]
type  = "ip"
allow = ["10.0.0.0/8"]

[filters.bots]
type = "ip"
deny = ["0.0.0.0/0", "::/0"]
when = 'client.ip in list.bots'

[filters.closed]
type   = "maintenance"
file   = %q
except = ["/closed/healthz"]

[filters.forms]
type    = "request_limits"
methods = ["POST"]
body    = "4"

[filters.chaos]
type   = "fault"
abort  = "100%%"
status = 504
when   = 'header.x-chaos == "on"'

[defaults]
filters = ["bots"]
`

// policed has the routes of policies.
func policed() (routes string) {
	for path, filters := range map[string]string{
		"fair": `"fair"`, "keys": `"keys"`, "office": `"office"`, "closed": `"closed"`, "forms": `"forms"`,
		"chaos": `"chaos"`, "free": `"!bots"`,
	} {
		routes += fmt.Sprintf("[[routes]]\npattern = \"/%s/*\"\ndest = \"demo\"\nfilters = [%s]\n", path, filters)
	}
	return routes
}

// ask sends a request with fields, names and values in turn, and returns the status and the answer.
func ask(t *testing.T, r *running, line string, fields ...string) (int, *http.Response) {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	path, body, _ := strings.Cut(path, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, _ := testutil.Do(t, client(t), req)
	return resp.StatusCode, resp
}

func TestRun_filtersDecideOverRequests(t *testing.T) {
	switched := filepath.Join(t.TempDir(), "closed")
	metrics, to := testutil.FreeAddr(t), origin(t)
	r := start(t, policies+policed(), metrics, to, 2, switched)
	const from = "X-Forwarded-For"
	for _, c := range []struct {
		request string
		fields  []string
		status  int
	}{
		{"GET /fair/", []string{from, "192.0.2.1"}, 404}, {"GET /fair/", []string{from, "192.0.2.1"}, 404},
		{"GET /fair/", []string{from, "192.0.2.1"}, 429}, {"GET /fair/", []string{from, "192.0.2.2"}, 404},
		{"GET /keys/", []string{"X-Key", "a"}, 404}, {"GET /keys/", []string{"X-Key", "a"}, 503},
		{"GET /keys/", []string{"X-Key", "b"}, 404}, {"GET /keys/", nil, 404}, {"GET /keys/", nil, 404},
		{"GET /office/", []string{from, "10.1.2.3"}, 404}, {"GET /office/", []string{from, "192.0.2.1"}, 403},
		{"GET /office/", []string{from, "192.0.2.66"}, 403}, {"GET /free/", []string{from, "192.0.2.66"}, 404},
		{"GET /closed/", nil, 404}, {"GET /forms/", nil, 405}, {"POST /forms/ abcd", nil, 404},
		{"POST /forms/ abcde", nil, 413}, {"GET /chaos/", nil, 404}, {"GET /chaos/", []string{"X-Chaos", "on"}, 504},
	} {
		if status, _ := ask(t, r, c.request, c.fields...); status != c.status {
			t.Errorf("%s %v: %d, want %d", c.request, c.fields, status, c.status)
		}
	}
	if err := os.WriteFile(switched, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, testutil.Minutes, func() bool {
		status, resp := ask(t, r, "GET /closed/")
		return status == 503 && resp.Header.Get("Retry-After") == "300"
	}, "it is closed")
	if status, _ := ask(t, r, "GET /closed/healthz"); status != 404 {
		t.Errorf("health checks get %d", status)
	}
	_, text := testutil.Get(t, client(t), "http://"+metrics+"/metrics")
	for _, line := range []string{
		`edge_ratelimit_total{filter="fair",result="allowed"} 3`,
		`edge_ratelimit_total{filter="fair",result="limited"} 1`,
		`edge_ratelimit_total{filter="keys",result="limited"} 1`,
		`edge_filter_total{filter="office",result="refused",type="ip"} 1`,
		`edge_filter_total{filter="forms",result="body",type="request_limits"} 1`,
		`edge_filter_total{filter="chaos",result="aborted",type="fault"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	limitsOutliveReloads(t, r, metrics, to, switched)
	if code := r.Stop(); code != 0 {
		t.Errorf("it ends with %d", code)
	}
}

// limitsOutliveReloads: what was counted is known after a reload, unless the limit itself has changed.
func limitsOutliveReloads(t *testing.T, r *running, metrics, to, switched string) {
	t.Helper()
	const more = "[[routes]]\npattern = \"/more/*\"\ndest = \"status:202\"\n"
	r.change(t, policies+policed()+more, metrics, to, 2, switched)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		status, _ := ask(t, r, "GET /more/")
		return status == 202
	}, "the configuration has changed")
	if status, _ := ask(t, r, "GET /fair/", "X-Forwarded-For", "192.0.2.1"); status != 429 {
		t.Errorf("%d after a reload", status)
	}
	r.change(t, policies+policed(), metrics, to, 3, switched)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		status, _ := ask(t, r, "GET /fair/", "X-Forwarded-For", "192.0.2.1")
		return status == 404
	}, "another limit begins anew")
}

// What is wrong with a table of each type is shown in its place.
func TestCheck_filtersThatAreWrong(t *testing.T) {
	for table, want := range map[string]string{
		`type = "rate_limit"; rate = "5"`:                        `:3:8: error: "rate" must be a rate`,
		`type = "rate_limit"; rate = "5/s"; key = "{client.pi}"`: `:4:9: error: there is no variable client.pi`,
		`type = "rate_limit"`:                                    `needs "rate"`,
		`type = "ip"; allow = ["10.0.0.0/33"]`:                   `:3:10: error: "10.0.0.0/33" is no address`,
		`type = "maintenance"; except = ["healthz"]; on = true`:  `"healthz" is no path`,
		`type = "request_limits"; content_types = ["json"]`:      `"json" is no type`,
		`type = "fault"; abort = "5"`:                            `"5" is no share`,
		`type = "fault"; abort = "5%"; delay_for = "1h"`:         `"delay_for" must be between 1ms and 10m`,
		`type = "rate_limits"; rate = "5/s"`:                     `rate_limit`,
		`type = "ip"; allows = ["10.0.0.0/8"]`:                   `allow`,
	} {
		file := write(t, "%s", "[filters.f]\n"+strings.ReplaceAll(table, "; ", "\n")+
			"\n[[listeners]]\nlisten = \":0\"\n[defaults]\nfilters = [\"f\"]\n")
		if code, out := edge(t, "check", "-c", file); code == 0 || !strings.Contains(out, want) {
			t.Errorf("%s\nends with %d and lacks %q:\n%s", table, code, want, out)
		}
	}
}
