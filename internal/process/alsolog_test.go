package process

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// alsoTo returns a configuration whose error log goes to tables as well.
func alsoTo(t *testing.T, names, tables string) *config.Config {
	t.Helper()
	c, rep := config.Parse("edge.toml", []byte("error_log_also = ["+names+"]\nhttp.listen = \":80\"\n"+tables))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	return c
}

// Lines of the error log go to a syslog server and to a collector as well, as the configuration says at that time.
func TestAlsoLog(t *testing.T) {
	t.Parallel()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	testutil.Must(t, err)
	defer udp.Close()
	next := func() string { return nextFrom(t, udp) }
	got := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + string(text)
	}))
	defer collector.Close()
	tables := "[log_sinks.a]\ntype = \"syslog\"\nto = \"syslog+udp://" + udp.LocalAddr().String() + "\"\n" +
		"[log_sinks.b]\ntype = \"otlp\"\nendpoint = \"" + collector.URL + "\"\nservice = \"front\"\n"
	file := filepath.Join(t.TempDir(), "log")
	e := openLog(t, file)
	also, log := e.also, e.logger()
	if log.Info("zero"); len(*also.now.Load()) != 0 {
		t.Error("there are outputs")
	}
	commit, _, err := also.prepare(alsoTo(t, `"a"`, tables))
	testutil.Must(t, err)
	commit()
	var r observe.Registry
	also.register(&r)
	log.With("by", "edge").Warn("one")
	if line := next(); !strings.HasPrefix(line, "<132>1 ") || !strings.Contains(line, `"msg":"one","by":"edge"}`) {
		t.Error(line)
	}
	if commit, _, err = also.prepare(alsoTo(t, `"a", "b"`, tables)); err != nil {
		t.Fatal(err)
	}
	before := (*also.now.Load())[0]
	commit()
	if now := *also.now.Load(); len(now) != 2 || now[0] != before {
		t.Errorf("got %v, want one more than %v", now, before)
	}
	log.Error("two", "n", 2)
	if line := next(); !strings.Contains(line, "two") {
		t.Error(line)
	}
	if batch := <-got; !strings.HasPrefix(batch, "/v1/logs") || !strings.Contains(batch, "two") ||
		!strings.Contains(batch, "front") {
		t.Errorf("%q", batch)
	}
	sent := func() (n float64) {
		r.Each(func(s observe.Sample) { n += s.Value })
		return n
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return sent() == 1 }, "the record is counted")
	if commit, _, err = also.prepare(alsoTo(t, "", "")); err != nil {
		t.Fatal(err)
	}
	commit()
	log.Info("three")
	e.sync()
	if all := text(t, file); len(*also.now.Load()) != 0 || strings.Count(all, "\n") != 4 {
		t.Errorf("%v, %s", *also.now.Load(), all)
	}
}

// A reload that fails leaves the outputs as they are.
func TestAlsoLog_undo(t *testing.T) {
	const table = "[log_sinks.a]\ntype = \"syslog\"\nto = \"syslog+udp://127.0.0.1:9\"\n"
	a := newAlsoLog()
	defer a.close()
	commit, _, err := a.prepare(alsoTo(t, `"a"`, table))
	testutil.Must(t, err)
	commit()
	before := (*a.now.Load())[0]
	_, undo, err := a.prepare(alsoTo(t, `"a", "b"`, table+strings.ReplaceAll(table, ".a]", ".b]")))
	testutil.Must(t, err)
	undo()
	if now := *a.now.Load(); len(now) != 1 || now[0] != before {
		t.Errorf("got %v", now)
	}
	if !a.handler(slog.LevelInfo).Enabled(t.Context(), slog.LevelInfo) {
		t.Error("the output gets nothing")
	}
}
