package outside

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
)

// linesMax is how many lines of code an addition may take: neither blank ones, nor comments, nor the package clause
// with its imports.
const linesMax = 40

func TestAdditionsAreShort(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file == "doc.go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code := string(text)
		if _, rest, found := strings.Cut(code, "\n)\n"); found && strings.Contains(code, "import (") {
			code = rest
		}
		lines := 0
		for line := range strings.Lines(code) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				lines++
			}
		}
		if t.Logf("%s: %d lines", file, lines); lines > linesMax {
			t.Errorf("%s takes %d lines, %d are allowed", file, lines, linesMax)
		}
	}
}

// logs keeps the last member of each record.
type logs chan edge.Field

func (l logs) Append(r *edge.Record) { l <- r.Fields[len(r.Fields)-1] }

func TestDestinationAndLogField(t *testing.T) {
	log := make(logs, 1)
	s := &edge.Server{Addr: "127.0.0.1:0", Filters: []*proxy.Filter{Tenant}, Routes: []proxy.Route{{To: Upper{}}}}
	s.Engine.Reactors = 1
	s.Listener.Log = []proxy.AccessLog{log}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	defer http.DefaultClient.CloseIdleConnections()
	for _, body := range []string{"hello", "", strings.Repeat("a", 1<<20)} {
		req, err := http.NewRequest("POST", "http://"+s.ListenAddr(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Tenant", "acme")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || string(got) != strings.ToUpper(body) {
			t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(got), err)
		}
		if f := <-log; f != (edge.Field{Name: "tenant", Value: "acme"}) {
			t.Errorf("logged %v", f)
		}
	}
}
