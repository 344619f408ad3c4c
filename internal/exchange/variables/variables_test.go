package variables_test

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/match/geo"
	"github.com/edge-proxy/edge/internal/match/table"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
)

// visit is a Subject of which all is known.
type visit struct{ tls *tlsconn.Digest }

func (v *visit) ClientIP() netip.Addr  { return netip.MustParseAddr("::ffff:203.0.113.7") }
func (v *visit) ClientPort() uint16    { return 0 }
func (v *visit) SocketIP() netip.Addr  { return netip.MustParseAddr("10.0.0.2") }
func (v *visit) Peer() netip.AddrPort  { return netip.MustParseAddrPort("10.0.0.1:5000") }
func (v *visit) Local() netip.AddrPort { return netip.MustParseAddrPort("10.0.0.2:443") }
func (v *visit) ListenerName() string  { return "web" }
func (v *visit) TLS() *tlsconn.Digest  { return v.tls }
func (v *visit) RouteName() string     { return "" }
func (v *visit) AppendID(dst []byte) []byte {
	return append(dst, "0a0b"...)
}
func (v *visit) TraceID() []byte    { return nil }
func (v *visit) Rest([]byte) []byte { return []byte("/x") }
func (v *visit) User() []byte       { return nil }
func (v *visit) Text(name string) []byte {
	if name == "tier" {
		return []byte("gold")
	}
	return nil
}
func (v *visit) Claim(name string, dst [][]byte) [][]byte {
	if name == "groups" {
		dst = append(dst, []byte("dev"), []byte("ops"))
	}
	return dst
}
func (v *visit) Attempts() int { return 2 }
func (v *visit) Status() int   { return 502 }
func (v *visit) Upstream() variables.Upstream {
	return variables.Upstream{Addr: "10.1.0.1:80", Time: time.Second}
}
func (v *visit) Duration() time.Duration    { return 3 * time.Second }
func (v *visit) Bytes() (in, out int64)     { return 5 << 20, 7 }
func (v *visit) Fault() (side, kind string) { return "backend", "reset" }
func (v *visit) Source() string             { return "own" }
func (v *visit) SampleRate() string         { return "" }
func (v *visit) Encoded() (string, int64)   { return "gzip", 700 }

func (v *visit) Cache() (status, reason string, age time.Duration) {
	return "hit", "", 12 * time.Second
}

// Every variable has a sentence, and an example that compiles where it is known. Nothing is known without a Subject.
func TestAll(t *testing.T) {
	empty := geo.Databases{{Map: table.NewMap("empty", table.Options{}), Fields: geo.All}}
	scope, err := variables.Scope(lang.Names{Variables: variables.Geo(empty)})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range variables.All() {
		if !strings.HasSuffix(v.Doc, ".") && !strings.HasSuffix(v.Doc, ".`") || v.Example == "" {
			t.Errorf("%s: %q, example %q", v.Name, v.Doc, v.Example)
		}
		if strings.HasPrefix(v.Example, "{") {
			text, err := scope.Template(v.Example, v.Phases)
			if err != nil {
				t.Errorf("%s: %v", v.Name, err)
			} else if got := text.Append(nil, &lang.X{}); len(got) > 0 {
				t.Errorf("%s is %q without a request", v.Name, got)
			}
			continue
		}
		when, err := scope.Condition(v.Example, v.Phases)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
		} else if when.Holds(&lang.X{}) && !strings.Contains(v.Example, "not ") {
			t.Errorf("%s holds without a request", v.Example)
		}
	}
}

func TestScope_values(t *testing.T) {
	scope, err := variables.Scope(lang.Names{})
	if err != nil {
		t.Fatal(err)
	}
	secured := &tlsconn.Digest{Version: tls.VersionTLS13, ServerName: "DB.Example.com", ALPN: "h2", Resumed: true}
	for _, c := range []struct {
		text string
		tls  *tlsconn.Digest
		want string
	}{
		{"{client.ip} {peer.ip} {server.ip} {server.port} {listener} {client.port ?? 0}", nil,
			"203.0.113.7 10.0.0.1 10.0.0.2 443 web 0"},
		{"{client_ip} {request_id} {rest} {local.tier} {has(local.none)} {has(auth.user)}", nil,
			"203.0.113.7 0a0b /x gold false false"},
		{"{tls.version} {tls.sni} {sni} {tls.alpn} {alpn} {tls.resumed}", secured,
			"TLS 1.3 db.example.com DB.Example.com h2 h2 true"},
		{"{has(tls.version)} {tls.resumed} {cert.verified} {len(cert.sans)}{client_cert_verified}", nil,
			"false false false 0"},
		{"{has(sni)} {has(tls.sni)}", &tlsconn.Digest{ServerName: "a\r\nX-Admin: 1"}, "false false"},
		{"{client_cert_verified} {cert.verified} {has(cert.subject)}", &tlsconn.Digest{Verified: true},
			"true true false"},
		{"{auth.claim.groups} {auth.claim.groups == \"ops\"} {auth.claim[\"a.b\"] ?? \"none\"}", nil,
			"dev, ops true none"},
		{"{status} {attempts} {duration > 2s} {upstream.time == 1s} {has(upstream.status)}", nil,
			"502 2 true true false"},
		{"{error.source}:{error.kind} {bytes.in == 5m} {bytes.out} {answer.source} {upstream.addr}", nil,
			"backend:reset true 7 own 10.1.0.1:80"},
		{"{sample.rate}", nil, "1"},
		{"{cache.status} {has(cache.reason)} {cache.age > 11s} {cache.age}", nil, "hit false true 12.000000"},
	} {
		text, err := scope.Template(c.text, lang.Log)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		x := lang.X{Subject: &visit{c.tls}, State: lang.NewState()}
		if got := string(text.Append(nil, &x)); got != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
	if _, err := scope.Condition(`status == 200`, lang.Request); err == nil {
		t.Error("status is known before an answer")
	}
}

// A handshake knows what its first message tells, and says why it knows no more.
func TestHandshakeScope(t *testing.T) {
	scope, err := variables.HandshakeScope(lang.Names{})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`path == "/"`:              "path is not known before the handshake ends",
		`header.x == "1"`:          "header.x is not known before the handshake ends",
		`host == "a"`:              "host is not known before the handshake ends",
		`tls.version == "TLS 1.3"`: "tls.version is not known before the handshake ends",
		`cert.verified`:            "cert.verified is not known before the handshake ends",
		`status == 200`:            "status is not known before the handshake ends",
		`local.a == "b"`:           "local.a is not known before the handshake ends",
		`tls.snj == "a"`:           "there is no variable tls.snj",
		`tls.sni == "a" and tls.alpn == "h2" and client.ip == 10.0.0.1 and time.hour < 8 and random(2) == 1`: "",
	} {
		_, err := scope.Condition(text, lang.Handshake)
		if (want == "") != (err == nil) {
			t.Errorf("%s: %v", text, err)
		} else if want != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
