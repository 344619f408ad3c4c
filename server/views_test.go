package server

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// Two rules lead to one pool, and one client asks them in turn. The one with turns of its own meets the backends as if
// it were alone, before and after a reload, and both use the same connections.
func TestRoutes_turnsOfTheirOwn(t *testing.T) {
	one, conns := origin(t, "one")
	two, others := origin(t, "two")
	const file = "%sglobal.worker_threads = 1\n" +
		"upstream_defaults.load_balancing = \"round_robin\"\n[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n" +
		"[[load_balancing.backends]]\nname = \"api\"\naddress = %q\n" +
		"[[load_balancing.backends]]\nname = \"api\"\naddress = %q\n" +
		"[[proxy.rules]]\npath = \"/a/*\"\nupstream = \"api\"\n%s" +
		"[[proxy.rules]]\npath = \"/b/*\"\nupstream = \"api\"\n%s"
	for _, c := range []struct {
		name, a, b string
		want       string // the backends that answer /a, /b, /a, /b and so on
	}{
		{"none", "", "", "one two one two one two one two"},
		{"one", "load_balancing = \"round_robin\"\n", "", "one one two two one one two two"},
		{"both", "load_balancing = \"round_robin\"\n", "load_balancing = \"weighted\"\n",
			"one one two two one one two two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := fmt.Sprintf(file, quiet, one, two, c.a, c.b)
			s := serve(t, parse(t, text), Options{})
			before := conns.Load() + others.Load()
			conn, err := net.Dial("tcp", strings.TrimPrefix(urlOf(t, s, "web"), "http://"))
			try(t, err)
			w := testutil.NewWire(t, conn)
			var got []string
			for i := range 8 {
				if i == 4 {
					mustApply(t, s, parse(t, "log.format = \"common\"\n"+text))
				}
				w.Send("GET /" + string("ab"[i%2]) + "/ HTTP/1.1\r\nHost: h\r\n\r\n")
				_, body := w.ReadResponse("GET")
				name, _, _ := strings.Cut(body, " ")
				got = append(got, name)
			}
			if order := strings.Join(got, " "); order != c.want {
				t.Errorf("answered by %s, want %s", order, c.want)
			}
			if n := conns.Load() + others.Load() - before; n != 2 {
				t.Errorf("%d connections for two backends", n)
			}
		})
	}
}

// What has the weight 0 takes no request: a backend beside others, a route beside its equals, and one that would take
// all that goes to the upstream "default" otherwise. A reload gives it its share, and takes it away again.
func TestRoutes_weightOfNone(t *testing.T) {
	file := func(weight int) string {
		one, two := mirror(t, "one"), mirror(t, "two")
		return fmt.Sprintf("%sglobal.worker_threads = 1\n[http]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
			"[upstreams]\ndefault.load_balancing = \"round_robin\"\n"+
			"default.backends = [{ address = %q }, { address = %q, weight = %d }]\n"+
			"[[routes]]\npattern = \"/*\"\ndest = \"status:418\"\nweight = 0\n"+
			"[[routes]]\npattern = \"/c/*\"\ndest = \"status:201\"\nweight = 1\n"+
			"[[routes]]\npattern = \"/c/*\"\ndest = \"status:202\"\nweight = %d\n", quiet, one, two, weight, weight)
	}
	s := serve(t, parse(t, file(0)), Options{})
	const none, half = "one one one one 201 201 201 201", "one two one two 201 202 201 202"
	for _, c := range []struct {
		weight int
		want   string
	}{{0, none}, {1, half}, {0, none}} {
		mustApply(t, s, parse(t, file(c.weight)))
		var got []string
		for range 4 {
			name, _, _ := strings.Cut(bodyOf(t, askFor(t, "GET", urlOf(t, s, "web")+"/x")), " ")
			got = append(got, name)
		}
		for range 4 {
			got = append(got, fmt.Sprint(askFor(t, "GET", urlOf(t, s, "web")+"/c/x").StatusCode))
		}
		if list := strings.Join(got, " "); list != c.want {
			t.Errorf("weight %d: answered by %s, want %s", c.weight, list, c.want)
		}
	}
}
