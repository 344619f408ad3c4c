package report

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

func parse(t *testing.T, format string, args ...any) *config.Config {
	t.Helper()
	c, rep := config.Parse("edge.toml", fmt.Appendf(nil, format, args...))
	if !rep.OK() {
		t.Fatal(rep.Errors)
	}
	return c
}

// use applies a configuration.
func use(t *testing.T, r *Reporter, format string, args ...any) {
	t.Helper()
	commit, _, err := r.Prepare(parse(t, "allow = [\"no-listener\"]\n"+format, args...))
	if err != nil {
		t.Fatal(err)
	}
	commit()
}

// Lines at the level error become events, without attributes that tell of clients and of their requests.
func TestReporter_lines(t *testing.T) {
	f, r := newFake(t, nil), New("1.2.3")
	defer r.Close()
	log := slog.New(r.Handler())
	log.Error("nobody is told")
	use(t, r, "[sentry]\ndsn = %q\nenvironment = \"test\"", f.dsn)
	for range 3 {
		log.Error("a file is wrong", "files", []string{"a.pem"}, "error",
			errors.New(`Get "https://vault.example/v1?token=hidden": read tcp 10.0.0.1:80->192.0.2.7:5555: reset`),
			"client", "192.0.2.7", "peer_address", "192.0.2.7:5555", "host", "hidden.example", "path", "/hidden",
			"password", "hidden", slog.Group("headers", "X-Any", "hidden"))
	}
	log.With("upstream", "api").WithGroup("at").With("n", 3).Error("another", "deep", slog.GroupValue(slog.Int("m", 4)))
	log.Warn("a warning is no event")
	log.Error("http://hidden:hidden@api.example/a?hidden is wrong")
	all, text := f.wait(t, 3)
	if len(all) != 3 || strings.Contains(text, "hidden") || strings.Contains(text, "192.0.2.7") {
		t.Errorf("%d events: %s", len(all), text)
	}
	e := all[0]
	want := map[string]any{"files": "[a.pem]",
		"error": `Get "https://vault.example/v1?…": read tcp 10.0.0.1:80->…: reset`}
	if fmt.Sprint(e.Contexts["log"]) != fmt.Sprint(sentry.Context(want)) {
		t.Errorf("%v", e.Contexts["log"])
	}
	if e.Message != "a file is wrong" || e.Environment != "test" || e.Release != "edge@1.2.3" ||
		e.Level != sentry.LevelError || fmt.Sprint(e.Fingerprint) != "[error a file is wrong]" {
		t.Errorf("%+v", e)
	}
	if got := fmt.Sprint(all[1].Contexts["log"]); got != "map[at.deep.m:4 at.n:3 upstream:api]" {
		t.Errorf("%s", got)
	}
}

// With client_ip attributes of clients are sent, and nothing else that is left out.
func TestReporter_clientIP(t *testing.T) {
	f, r := newFake(t, nil), New("")
	defer r.Close()
	use(t, r, "[sentry]\ndsn = %q\nclient_ip = true", f.dsn)
	slog.New(r.Handler()).Error("a line", "client", "192.0.2.7", "path", "/hidden")
	if all, _ := f.wait(t, 1); fmt.Sprint(all[0].Contexts["log"]) != "map[client:192.0.2.7]" {
		t.Errorf("%v", all[0].Contexts)
	}
}

// A reload that leaves the section alone leaves what goes on alone; another project gets what comes after.
func TestReporter_reload(t *testing.T) {
	one, two, r := newFake(t, nil), newFake(t, nil), New("")
	log := slog.New(r.Handler())
	use(t, r, "[sentry]\ndsn = %q", one.dsn)
	first := r.now.Load()
	log.Error("first")
	use(t, r, "log_level = \"warn\"\n[sentry]\ndsn = %q", one.dsn)
	if r.now.Load() != first {
		t.Error("it has begun anew")
	}
	use(t, r, "[sentry]\ndsn = %q", two.dsn)
	log.Error("second")
	use(t, r, "")
	log.Error("third")
	_, undo, err := r.Prepare(parse(t, "allow = [\"no-listener\"]\n[sentry]\ndsn = %q", one.dsn))
	if err != nil {
		t.Fatal(err)
	}
	undo()
	log.Error("fourth")
	r.Close()
	all, _ := one.wait(t, 1)
	more, _ := two.wait(t, 1)
	if len(all) != 1 || all[0].Message != "first" || len(more) != 1 || more[0].Message != "second" {
		t.Errorf("%v, %v", all, more)
	}
}

// What Sentry has not taken, or was too many for it, is told again a minute later if it still happens.
func TestReporter_lost(t *testing.T) {
	f, r := newFake(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }), New("")
	defer r.Close()
	use(t, r, "[sentry]\ndsn = %q", f.dsn)
	slog.New(r.Handler()).Error("a line")
	kinds := [][]string{{"error", "a line"}, {"error", "no room"}}
	r.once.pass(kinds[1], time.Now())
	(&sender{counts: &r.counts, once: &r.once}).offer(&sentry.Event{Fingerprint: kinds[1]})
	for _, kind := range kinds {
		testutil.Eventually(t, testutil.Minutes, func() bool { return r.once.pass(kind, time.Now().Add(retryTime)) },
			"%s passes again", kind)
		if r.once.pass(kind, time.Now().Add(2*retryTime)) {
			t.Errorf("%s passes too soon", kind)
		}
	}
}

// explode panics, on the line that an event names.
func explode() { panic("the text of the panic") }

// A panic of a handler is an event with its stack, and leads to the request by its number alone.
func TestReporter_panic(t *testing.T) {
	f, r := newFake(t, nil), New("")
	defer r.Close()
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewMultiHandler(slog.NewTextHandler(io.Discard, nil), r.Handler())))
	c, rep := (&config.Options{Destinations: []string{"explodes"}}).Parse("edge.toml", fmt.Appendf(nil,
		"http = { name = \"web\", listen = \"127.0.0.1:0\" }\nlog.output = []\n"+
			"routes = [{ pattern = \"/*\", dest = \"explodes\" }]\n[sentry]\ndsn = %q", f.dsn))
	if !rep.OK() {
		t.Fatal(rep.Errors)
	}
	s, err := server.New(c, server.Options{Prepare: r.Prepare, Destinations: map[string]proxy.Destination{
		"explodes": handler.FromHTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { explode() }))}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop() //nolint:errcheck // of the test
	if err := errors.Join(s.Listen(), s.Start()); err != nil {
		t.Fatal(err)
	}
	r.Serve(s)
	testutil.Get(t, http.DefaultClient, fmt.Sprintf("http://%s/hidden?hidden", s.Addresses()[0].Addr))
	all, text := f.wait(t, 1)
	e := all[0]
	if e.Message != "a handler panicked" || len(e.Exception) != 1 || e.Exception[0].Value != "the text of the panic" {
		t.Fatalf("%+v", e)
	}
	stack := e.Exception[0].Stacktrace.Frames
	last := stack[len(stack)-1]
	if last.Function != "explode" || !last.InApp || !strings.HasSuffix(last.Filename, "reporter_test.go") ||
		len(e.Fingerprint) != 3 || !strings.HasSuffix(e.Fingerprint[1], "report.explode") {
		t.Errorf("%+v of %v", last, e.Fingerprint)
	}
	if id := e.Contexts["log"]["request"]; len(fmt.Sprint(id)) != 32 {
		t.Errorf("the request %v", id)
	}
	if strings.Contains(text, "hidden") {
		t.Error(text)
	}
}

// A stack is read whole, from whichever goroutine.
func TestFrames(t *testing.T) {
	stack := make(chan string)
	go func() {
		defer func() {
			_ = recover()
			stack <- string(debug.Stack())
		}()
		func() { explode() }()
	}()
	all := frames(<-stack)
	var names []string
	for _, f := range all {
		names = append(names, f.Function)
		if f.Lineno == 0 || f.Module == "" || !strings.HasSuffix(f.Filename, ".go") {
			t.Errorf("%+v", f)
		}
	}
	const want = "TestFrames TestFrames.func1 TestFrames.func1.2 explode"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, s := range []string{"", "\n\n", "\t", "a\n\tb", "panic(\n\tx:1\n", "f(", "(\n\t:"} {
		frames(s)
	}
}

// Whatever becomes of events, each is counted, nothing waits for them, and the end is near.
func TestSender_failures(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	status := func(n int, name, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(name, value)
			w.WriteHeader(n)
		}
	}
	for _, c := range []struct {
		name                  string
		answer                http.HandlerFunc
		sent, failed, dropped uint64
	}{
		{"good", nil, 3, 0, 0},
		{"silent", hang, 0, 3, 0},
		{"429", status(429, "Retry-After", "3600"), 0, 1, 2},
		{"503", status(503, "", ""), 0, 3, 0},
		{"redirect", status(307, "Location", "http://127.0.0.1:1/"), 0, 3, 0},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(w, strings.Repeat("x", 1<<16))
			}
		}, 3, 0, 0},
		{"slow", func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		}, 1, 2, 0},
		{"gone", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var n counts
			s, err := newSender(&Sentry{DSN: newFake(t, c.answer).dsn}, "1", &n, new(once))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for range 3 {
				s.offer(sentry.NewEvent())
			}
			s.close()
			if took := time.Since(began); took > endTime+testutil.Patience/2 {
				t.Errorf("the end took %v", took)
			}
			if n.sent.Load() != c.sent || n.failed.Load() != c.failed || n.dropped.Load() != c.dropped {
				t.Errorf("sent %d, failed %d, dropped %d", n.sent.Load(), n.failed.Load(), n.dropped.Load())
			}
		})
	}
}

// With a project that takes nothing, 64 events wait, and the others are counted at once.
func TestSender_room(t *testing.T) {
	asked := make(chan struct{}, 1)
	f := newFake(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	var n counts
	s, err := newSender(&Sentry{DSN: f.dsn}, "1", &n, new(once))
	if err != nil {
		t.Fatal(err)
	}
	s.offer(sentry.NewEvent())
	<-asked
	for range eventsMost + 10 {
		s.offer(sentry.NewEvent())
	}
	if got := n.dropped.Load(); got != 10 {
		t.Errorf("%d dropped, want 10", got)
	}
	s.close()
	if all := n.sent.Load() + n.failed.Load() + n.dropped.Load(); all != 1+eventsMost+10 || n.sent.Load() != 0 {
		t.Errorf("%d counted, %d of them sent", all, n.sent.Load())
	}
}

// An event of a kind passes once in ten minutes, and the kinds take no more than their room.
func TestOnce(t *testing.T) {
	var o once
	at := time.Unix(1e9, 0)
	for _, s := range []struct {
		after time.Duration
		kind  string
		want  bool
	}{{0, "a", true}, {time.Second, "a", false}, {time.Second, "b", true}, {quietTime - 1, "a", false},
		{quietTime, "a", true}, {quietTime, "b", false}, {2*quietTime - 1, "a", false}, {2 * quietTime, "b", true}} {
		if got := o.pass([]string{s.kind}, at.Add(s.after)); got != s.want {
			t.Errorf("%s after %v: %v", s.kind, s.after, got)
		}
	}
	for i := range 10 * kindsMost {
		if !o.pass([]string{fmt.Sprint(i)}, at.Add(time.Hour+time.Duration(i))) {
			t.Fatal(i)
		}
	}
	if len(o.last) > kindsMost {
		t.Errorf("%d kinds are known", len(o.last))
	}
}

// Texts of events have no queries, no far ends of connections, valid UTF-8, and a bound.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "GET /a?b=c HTTP", "read tcp 1.2.3.4:5->6.7.8.9:10: reset", "->", "?", "?a\xff",
		strings.Repeat("é", textMost), "a->b?c->d", "[::1]:1->[::2]:2", "http://a:b@c/",
		`"h2c://a%20b@c" //d@e@f`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := text(s)
		if len(got) > 3*textMost || strings.ToValidUTF8(got, "") != got {
			t.Errorf("%q becomes %q", s, got)
		}
		if user().ReplaceAllString(got, "//…@") != got {
			t.Errorf("%q becomes %q", s, got)
		}
		for _, word := range strings.Fields(got) {
			if _, rest, found := strings.Cut(word, "->"); found && rest != "…" && rest != "…:" {
				t.Errorf("%q becomes %q", s, got)
			}
		}
	})
}
