package outside

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/program/programtest"
	"github.com/edge-proxy/edge/proxy"
)

// greetings returns the statuses of three requests that know the key, and the first body.
func greetings(t *testing.T, addr string) (statuses []int, first string) {
	t.Helper()
	for range 3 {
		req, err := http.NewRequest("GET", "http://"+addr+"/you", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Key", "k")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		_ = resp.Write(&b)
		_ = resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
		if _, body, _ := strings.Cut(b.String(), "\r\n\r\n"); first == "" {
			first = body
		}
	}
	return statuses, first
}

func wantGreetings(t *testing.T, addr, text string) {
	t.Helper()
	statuses, first := greetings(t, addr)
	if statuses[0] != 200 || statuses[1] != 200 || statuses[2] != 204 || first != text {
		t.Errorf("got %v, %q; want 200, 200, 204 and %q", statuses, first, text)
	}
}

// The same type of filters works in a configuration file and in a program.
func TestGreet(t *testing.T) {
	s := programtest.Start(t, `log.output = []
http.listen = "127.0.0.1:0"
defaults.filters = ["hello"]
routes = [{ pattern = "/*", dest = "status:204" }]
[filters.hello]
type = "greet"
key = "k"
text = "welcome {path}"
`)
	wantGreetings(t, s.Addr(0), "welcome /you")

	text, err := edge.Template("{path} it is", lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewGreet(&Greet{Key: "k", Text: text}, nil)
	if err != nil {
		t.Fatal(err)
	}
	inGo := &edge.Server{Addr: "127.0.0.1:0", Filters: []*proxy.Filter{f},
		Routes: []proxy.Route{{To: proxy.Answer(204, "", "")}}}
	inGo.Engine.Reactors = 1
	if err := inGo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inGo.Shutdown(context.Background()) })
	wantGreetings(t, inGo.ListenAddr(), "/you it is")
}

// Its mistakes are told with their places, and in a program by the names of the keys.
func TestGreet_mistakes(t *testing.T) {
	for text, want := range map[string]string{
		"key = \"greet\"":               "4:7: error: everyone guesses this one",
		"limit = 3":                     `2:1: error: a filter of type "greet" needs "key"`,
		"key = \"k\"\nlimit = 1000":     `5:9: error: "limit" must be between 1 and 100`,
		"key = \"k\"\ntxt = \"you\"":    `5:1: error: unknown key "txt" in [filters.hello]`,
		"key = \"k\"\ntext = \"{pth}\"": `5:10: error: `,
	} {
		text := "http.listen = \":0\"\n[filters.hello]\ntype = \"greet\"\n" + text + "\n"
		if found := programtest.Check(text); len(found) == 0 || !strings.Contains(found[0], want) {
			t.Errorf("%s: got %q, want %s", text, found, want)
		}
	}
	if _, err := NewGreet(nil, nil); err == nil || err.Error() != "key: it is required" {
		t.Errorf("got %v", err)
	}
}
