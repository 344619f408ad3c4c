package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The admin surface of a real process describes itself by a valid OpenAPI document, and each of its answers, good or
// bad, is as that document says. kin-openapi is the judge.
func TestAdmin_answersAreAsDescribed(t *testing.T) {
	socket := testutil.SocketPath(t)
	e := startEdge(t, `
[admin]
listen = "unix:%s"
pprof = true
[[routes]]
name = "api"
pattern = "/api/*"
dest = "api"
methods = ["GET"]
cache = true
[[routes]]
pattern = "/*"
dest = "status:204"
[upstreams.api]
backends = [ { address = "127.0.0.1:1", weight = 2, zone = "a" }, { address = "127.0.0.1:2", backup = true } ]
`, socket)
	conn, err := net.Dial("tcp", e.plain)
	testutil.Must(t, err)
	defer conn.Close()
	client := adminAt(t, socket)
	_, text := testutil.Get(t, client, "http://edge/v1/openapi.json")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	testutil.Must(t, err)
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("the document: %v", err)
	}
	router, err := gorillamux.NewRouter(doc)
	testutil.Must(t, err)
	asked := make(map[string]bool)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/livez", "", 200}, {"GET", "/readyz", "", 200}, {"GET", "/metrics", "", 200},
		{"GET", "/v1/status", "", 200}, {"GET", "/v1/config", "", 200}, {"GET", "/v1/routes", "", 200},
		{"GET", "/v1/upstreams", "", 200}, {"GET", "/v1/connections", "", 200}, {"GET", "/v1/openapi.json", "", 200},
		{"GET", "/v1/connections?filter=x", "", 400}, {"GET", "/v1/connections?limit=1&cursor=0.0.0", "", 200},
		{"GET", "/v1/certificates", "", 200}, {"GET", "/debug/pprof/heap", "", 200}, {"GET", "/debug/pprof/x", "", 404},
		{"PATCH", "/v1/upstreams/api/backends/127.0.0.1:1", `{"state":"draining","for":"1h"}`, 200},
		{"PATCH", "/v1/upstreams/api/backends/127.0.0.1:1", `{"state":"down","for":60}`, 200},
		{"GET", "/v1/upstreams", "", 200},
		{"PATCH", "/v1/upstreams/api/backends/127.0.0.1:1", `{"state":"serving","share":0.25}`, 200},
		{"PATCH", "/v1/upstreams/none/backends/127.0.0.1:1", `{"state":"serving"}`, 404},
		{"PUT", "/v1/log", `{"level":"debug","for":"1h"}`, 200}, {"PUT", "/v1/log", `{"level":"none"}`, 400},
		{"GET", "/v1/status", "", 200},
		{"GET", "/v1/requests", "", 200}, {"GET", "/v1/requests/none", "", 404},
		{"GET", "/v1/cache", "", 200}, {"GET", "/v1/cache/entry?url=http://h/api/a&field=A:%20b", "", 200},
		{"GET", "/v1/cache/entry?url=http://h/", "", 400}, {"POST", "/v1/cache/purge", `{"tag":"a","soft":true}`, 200},
		{"POST", "/v1/cache/purge", `{"prefix":"http://h/a"}`, 400}, {"POST", "/v1/cache/purge", `{"all":true}`, 200},
		{"GET", "/v1/diff", "", 200}, {"GET", "/v1/versions", "", 200}, {"POST", "/v1/reload", "", 200},
		{"POST", "/v1/rollback", `{"version":99}`, 404}, {"POST", "/v1/rollback", `{"version":1}`, 200},
		{"PUT", "/v1/config?dry_run=1", `{"http":{"listen":"127.0.0.1:0"}}`, 200},
		{"PUT", "/v1/config?dry_run=1", `{"htp":1}`, 422}, {"PUT", "/v1/config", `{"htp":1}`, 428},
		{"POST", "/v1/upgrade", `{"binary":"/bin/false"}`, 422}, {"POST", "/v1/upgrade", `{"binary":"x"}`, 400},
		{"POST", "/v1/stop", `{"now":true}`, 202},
	} {
		req, err := http.NewRequest(c.method, "http://edge"+c.path, strings.NewReader(c.body))
		testutil.Must(t, err)
		if c.method != "GET" {
			req.Header.Set("Content-Type", "application/json")
		}
		route, params, err := router.FindRoute(req)
		if err != nil {
			t.Errorf("%s %s is not in the document: %v", c.method, c.path, err)
			continue
		}
		asked[route.Operation.OperationID] = true
		judge(t, client, req, route, params, c.body, c.status)
	}
	for _, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			if !asked[o.OperationID] {
				t.Errorf("%s %s was not asked", method, o.OperationID)
			}
		}
	}
	e.Wait(testutil.Minutes)
}

// judge sends req and has its answer judged.
func judge(
	t *testing.T, client *http.Client, req *http.Request, route *routers.Route, params map[string]string, body string,
	status int,
) {
	t.Helper()
	of := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
	if err := openapi3filter.ValidateRequest(req.Context(), of); err != nil && status < 400 {
		t.Errorf("%s %s: the request: %v", req.Method, req.URL, err)
	}
	req.Body = io.NopCloser(strings.NewReader(body))
	resp, text := testutil.Do(t, client, req)
	if resp.StatusCode != status {
		t.Errorf("%s %s: %s, want %d: %s", req.Method, req.URL, resp.Status, status, text)
	}
	judged := &openapi3filter.ResponseValidationInput{RequestValidationInput: of, Status: resp.StatusCode,
		Header: resp.Header, Body: io.NopCloser(bytes.NewReader([]byte(text))),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: !json.Valid([]byte(text))}}
	if err := openapi3filter.ValidateResponse(context.Background(), judged); err != nil {
		t.Errorf("%s %s: the answer: %v", req.Method, req.URL, err)
	}
}
