package route_test

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// plain is an Arrival of which nothing is known.
type plain struct{}

func (plain) ListenerName() string               { return "" }
func (plain) CertificateVerified() bool          { return false }
func (plain) Holds(*lang.Condition, []byte) bool { return false }
func (plain) CertificateNames() (subject, issuer string, sans []string, ok bool) {
	return "", "", nil, false
}

func ExampleTable() {
	var t route.Table[string]
	for _, r := range []struct {
		rule route.Rule
		to   string
	}{
		{route.Rule{}, "everything else"},
		{route.Rule{Host: "*.example.com", Path: "/api"}, "api"},
		{route.Rule{Host: "*.example.com", Path: "/api", Methods: []string{"POST"}}, "writes"},
	} {
		if err := t.Add(r.rule, r.to); err != nil {
			panic(err)
		}
	}
	var local route.Local
	for _, target := range []string{"/api/users", "/API", "/x/%2e%2e/api", "/api%2Fusers"} {
		h := &message.Head{}
		h.SetMethod("GET")
		h.SetAuthority("www.example.com")
		h.SetTarget(target)
		to, err := t.Find(h, plain{}, route.Reading{}, &local)
		fmt.Println(target, to, err)
	}
	// Output:
	// /api/users api <nil>
	// /API everything else <nil>
	// /x/%2e%2e/api api <nil>
	// /api%2Fusers  the path can be read in two ways
}
