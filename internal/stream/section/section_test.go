package section

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/message"
)

var wide = Limits{HeadBytes: 4096, RequestLine: 1024, FieldCount: 10, FieldBytes: 512}

// fieldOf is the field that a decoder makes of "name: value".
func fieldOf(text string) *Field {
	at := strings.Index(text[1:], ": ") + 1
	f := &Field{Line: []byte(text + "\r\n"), NameLen: uint32(at), Traits: CheckName([]byte(text[:at]))}
	f.Bad |= CheckValue(f.Value(), HasControl(f.Value()))
	return f
}

// read gives a section its meaning: lines are "name: value".
func read(kind Kind, asked Asked, end bool, lines ...string) (h *message.Head, f Fault) {
	var s Section
	h = &message.Head{Proto: message.HTTP20}
	s.Begin(kind)
	for _, line := range lines {
		s.Add(h, fieldOf(line), &wide)
	}
	switch kind {
	case Request:
		return h, s.Request(h, end, &wide)
	case Response:
		return h, s.Response(h, asked, "websocket", end)
	}
	return h, s.Fault()
}

func TestSection_everyFault(t *testing.T) {
	get := []string{":method: GET", ":scheme: https", ":path: /", ":authority: a"}
	with := func(more ...string) []string { return append(get[:4:4], more...) }
	many := make([]string, 11)
	for i := range many {
		many[i] = fmt.Sprintf("x-%d: v", i)
	}
	long := strings.Repeat("p", 1020)
	for fault, lines := range map[Fault][]string{
		NoFault:              get,
		FaultUppercase:       with("Accept: a"),
		FaultFieldName:       with("a b: c"),
		FaultFieldValue:      with("a: b\x00"),
		FaultPseudoOrder:     {":method: GET", "a: b", ":path: /"},
		FaultPseudoTwice:     with(":path: /"),
		FaultPseudoUnknown:   with(":status: 200"),
		FaultPseudoMissing:   get[:2],
		FaultConnectionField: with("connection: close"),
		FaultTE:              with("te: gzip"),
		FaultMethod:          {":method: G(T", ":scheme: https", ":path: /", ":authority: a"},
		FaultScheme:          {":method: GET", ":scheme: ftp", ":path: /", ":authority: a"},
		FaultPath:            {":method: GET", ":scheme: https", ":path: a", ":authority: a"},
		FaultAuthority:       {":method: GET", ":scheme: https", ":path: /", ":authority: u@a"},
		FaultHostMismatch:    with("host: b"),
		FaultNoAuthority:     get[:3],
		FaultProtocol:        with(":protocol: websocket"),
		FaultContentLength:   with("content-length: 1x"),
		FaultLengthMismatch:  with("content-length: 1"),
		FaultConnectBody:     {":method: CONNECT", ":authority: a:1", "content-length: 1"},
		FaultExpectation:     with("expect: 200-ok"),
		FaultTargetTooLong:   {":method: GET", ":scheme: https", ":path: /" + long, ":authority: a"},
		FaultHeadTooLarge:    with("a: " + long),
		FaultTooManyFields:   with(many...),
	} {
		if _, got := read(Request, ForContent, true, lines...); got != fault || got != NoFault && got.String() == "" {
			t.Errorf("%q: %q, want %q", lines, got, fault)
		}
	}
	if _, got := read(Response, ForContent, true, ":status: 99"); got != FaultStatus {
		t.Error(got)
	}
	if _, got := read(Response, ForContent, true, ":status: 103"); got != FaultInterimEnd {
		t.Error(got)
	}
	if _, got := read(Trailers, ForContent, true, ":status: 200"); got != FaultPseudoUnknown {
		t.Error(got)
	}
}

// The first fault is told, whatever comes after it.
func TestSection_firstFault(t *testing.T) {
	if _, got := read(Request, ForContent, true, "te: gzip", "Accept: a", ":path: /"); got != FaultTE {
		t.Error(got)
	}
}

func TestSection_answerTo(t *testing.T) {
	for _, c := range []struct {
		asked  Asked
		status string
		want   string
	}{
		{ForContent, "200", "200 tunnel false length 7"},
		{ForHead, "200", "200 tunnel false length 0"},
		{ForContent, "304", "304 tunnel false length 0"},
		{ForTunnel, "200", "200 tunnel true length -1"},
		{ForTunnel, "407", "407 tunnel false length 7"},
		{ForUpgrade, "200", "101 tunnel true length -1"},
	} {
		h, f := read(Response, c.asked, false, ":status: "+c.status, "content-length: 7")
		got := fmt.Sprintf("%d tunnel %v length %d", h.Status, h.Tunnel, h.Length)
		if f != NoFault || got != c.want {
			t.Errorf("%v %s: %s, %q, want %s", c.asked, c.status, got, f, c.want)
		}
	}
}
