package main

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/server/admin"
)

func TestPrintStatus_tellsOfHTTP3(t *testing.T) {
	for state, want := range map[string]string{
		"": ", https, 3 open", "open": ", https and HTTP/3, 3 open", "waiting": ", https, HTTP/3 waiting, 3 open",
		"closing": ", https, HTTP/3 closing, 3 open", "failed": ", https, HTTP/3 failed, 3 open",
	} {
		var out strings.Builder
		st := admin.Status{Listeners: []admin.Listener{{Name: "web", TLS: true, HTTP3: state, Connections: 3}}}
		if err := printStatus(&out, &st); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%q: %v: %s", state, err, &out)
		}
	}
}
