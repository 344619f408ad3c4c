package h2

import (
	"reflect"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// makeRequest returns a request as a caller would make it.
func makeRequest(method, target, host string, fields ...string) *message.Head {
	h := new(message.Head)
	h.SetMethod(method)
	h.SetTarget(target)
	h.SetAuthority(host)
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func makeResponse(status int, fields ...string) *message.Head {
	h := &message.Head{Status: uint16(status), Length: message.LengthUnknown}
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

// A plain GET, both ways.
func TestConn_get(t *testing.T) {
	var client, server Conn
	arena := new(Arena)
	o := &Options{Arena: arena}
	client.Init(Client, o, 1)
	server.Init(Server, o, 1)
	var h message.Head

	cs, err := client.Open(1)
	testutil.Must(t, err)
	wire, err := client.AppendHead(nil, cs, makeRequest("GET", "/a?b", "example.org", "Accept", "*/*"), true)
	testutil.Must(t, err)
	var ss *Stream
	for {
		n, ev := server.Next(wire, &h, 2)
		wire = wire[n:]
		if ev.Kind == NeedMore {
			break
		}
		if ev.Kind == HeadDone {
			ss = ev.Stream
			got := string(appendHTTP1(nil, &h))
			if want := "GET /a?b HTTP/1.1\r\nHost: example.org\r\naccept: */*\r\n\r\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	if len(wire) > 0 || ss == nil {
		t.Fatal("no head", len(wire))
	}
	wire, err = server.AppendHead(nil, ss, makeResponse(200, "Server", "x"), false)
	testutil.Must(t, err)
	wire, n, err := server.AppendData(wire, ss, []byte("hello"), true)
	if n != 5 || err != nil {
		t.Fatal(n, err)
	}
	var got strings.Builder
	for {
		n, ev := client.Next(wire, &h, 3)
		wire = wire[n:]
		if ev.Kind == NeedMore {
			break
		}
		got.Write(ev.Body)
	}
	if got.String() != "hello" || client.Streams() > 0 || server.Streams() > 0 {
		t.Error(got.String(), client.Streams(), server.Streams())
	}
}

func TestStats_addTakesAll(t *testing.T) {
	var sum, one Stats
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(uint64(i + 1))
	}
	sum.Add(&one)
	sum.Add(&one)
	for i := range v.NumField() {
		if got := reflect.ValueOf(sum).Field(i).Uint(); got != uint64(2*i+2) {
			t.Errorf("%s: %d", v.Type().Field(i).Name, got)
		}
	}
}
