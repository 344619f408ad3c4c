package server

import (
	"errors"
	"strings"
	"testing"
)

// A held socket with the name of a listener has one of its addresses; the name of no listener means nothing, and so do
// names of sockets that no supervisor holds.
func TestHandover_checkNames(t *testing.T) {
	const file = quiet + "[[listeners]]\nname = \"web\"\nlisten = [\":8080\", \"unix:/run/web\"]\n" +
		"[[listeners]]\nname = \"api\"\nlisten = \"127.0.0.1:8081\"\n"
	cfg := parse(t, "routes = [{ pattern = \"/*\", dest = \"status:200\" }]\n"+file)
	for _, c := range []struct {
		socket Socket
		want   string // in the error; "": there is none
	}{
		{Socket{Listener: "web", Address: "[::]:8080"}, ""},
		{Socket{Listener: "web", Address: "0.0.0.0:8080"}, ""},
		{Socket{Listener: "web", Address: "unix:/run/web"}, ""},
		{Socket{Listener: "api", Address: "127.0.0.1:8081"}, ""},
		{Socket{Listener: "edge.socket", Address: "127.0.0.1:9"}, ""},
		{Socket{Address: "127.0.0.1:9"}, ""},
		{Socket{Listener: "web", Address: "[::]:8080", V6Only: true},
			`listener web: the socket "web" of the supervisor is [::]:8080 for IPv6 alone, and the listener of that ` +
				`name has :8080, unix:/run/web`},
		{Socket{Listener: "web", Address: "127.0.0.1:8081"}, `listener web: the socket "web" of the supervisor is ` +
			`127.0.0.1:8081, and`},
		{Socket{Listener: "api", Address: "unix:/run/web"}, `the socket "api" of the supervisor is unix:/run/web, ` +
			`and the listener of that name has 127.0.0.1:8081`},
	} {
		held := c.socket
		held.Held = true
		a := adoption{sockets: []Socket{c.socket, held}}
		err := a.checkNames(cfg)
		var at *ListenError
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v, want %q", c.socket, err, c.want)
		case err != nil && (!errors.As(err, &at) || at.Pos.Line == 0 || len(at.Try) < 2):
			t.Errorf("%+v: %+v says neither where nor what to do", c.socket, err)
		}
		a.sockets = a.sockets[:1]
		if err := a.checkNames(cfg); err != nil {
			t.Errorf("%+v is not held: %v", c.socket, err)
		}
	}
}

// A socket that no listener has comes with the line that gives it one.
func TestSocket_wayIn(t *testing.T) {
	cfg := parse(t, quiet+"http.listen = [\":8080\", \"unix:/run/web\"]\n"+all200)
	for _, c := range []struct {
		socket Socket
		want   string
	}{
		{Socket{Address: "[::]:8080", V6Only: true}, `the listener at :8080 has the port and not the address: ` +
			`listen = "[::]:8080" there`},
		{Socket{Address: "[::]:81"}, `a listener with listen = ":81", or`},
		{Socket{Address: "[::]:81", V6Only: true}, `a listener with listen = "[::]:81", or`},
		{Socket{Address: "unix:/run/other"}, `a listener with listen = "unix:/run/other", or`},
	} {
		if got := c.socket.wayIn(cfg); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.socket, got, c.want)
		}
	}
}
