package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	bodyMost   = 1 << 20
	heavyMost  = 3       // expensive calls at a time; of the owner one more
	unreadMost = 16      // of other clients, with those whose answers are yet to be read: they take memory
	chunkSize  = 8 << 10 // of a streamed answer
)

// call is one request that is answered with JSON.
// Owned by the goroutine of the request.
type call struct {
	process Process
	client  *client // nil: the endpoint changes nothing
	request *http.Request
	writer  http.ResponseWriter
	status  int // of an answer that is no error
}

// asked returns what reads the body of a request into an In, the zero value without a body, and goes on with answer.
func asked[In any](answer func(c *call, ask *In) (any, error)) func(c *call) (any, error) {
	return func(c *call) (any, error) {
		var ask In
		if err := c.body(&ask); err != nil {
			return nil, err
		}
		return answer(c, &ask)
	}
}

// body reads the body into v, which stays as it is without a body.
func (c *call) body(v any) error {
	d := json.NewDecoder(http.MaxBytesReader(c.writer, c.request.Body, bodyMost))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("something follows the value")
	}
	if errors.As(err, new(*http.MaxBytesError)) {
		return err
	}
	return fmt.Errorf("%w: the body: %w", ErrInvalid, err)
}

// numberOf returns a parameter of the query, preset without one.
func numberOf(r *http.Request, name string, preset, least, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return preset, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%w: %s is a number from %d to %d", ErrInvalid, name, least, most)
	}
	return n, nil
}

// routes find the endpoint of a request. Immutable.
type routes struct {
	mux       *http.ServeMux
	byPattern map[string]*Endpoint // by method and pattern
}

func (s *Surfaces) makeRoutes() *routes {
	all := Endpoints()
	to := &routes{http.NewServeMux(), make(map[string]*Endpoint, len(all))}
	for i := range all {
		e := &all[i]
		to.byPattern[e.Method+" "+e.Pattern] = e
		if e.Pattern == metricsPath {
			continue // its path is a key of the configuration
		}
		to.mux.HandleFunc(e.Method+" "+e.Pattern, func(w http.ResponseWriter, r *http.Request) { s.run(e, w, r) })
	}
	return to
}

// metricsPath is the path of the metrics unless the configuration has another one.
const metricsPath = "/metrics"

// find returns the endpoint of a request; nil: there is none.
func (s *Surfaces) find(p *policy, r *http.Request) *Endpoint {
	if r.URL.Path == p.metrics {
		return s.routes().byPattern["GET "+metricsPath]
	}
	to := s.routes()
	_, pattern := to.mux.Handler(r)
	return to.byPattern[pattern]
}

// ServeHTTP of a surface answers one request, and counts it.
func (f *surface) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c, ok := r.Context().Value(heldKey{}).(*heldConn); ok {
		c.serve(true)
		defer c.serve(false)
	}
	noted := &statusWriter{ResponseWriter: w}
	f.serveChecked(noted, r)
	f.all.counters.count(r.Method, noted.status)
}

// serveChecked answers one request, in the order of checks that the package documentation has.
func (f *surface) serveChecked(w *statusWriter, r *http.Request) {
	p := f.policy.Load()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := p.guard(f, r); err != nil {
		writeProblem(w, err)
		return
	}
	who := p.rightsOf(f, r)
	e := f.all.find(p, r)
	switch {
	case e != nil && f.probes && e.Needs > MayProbe, e != nil && e.Profile && !p.pprof, e == nil && f.probes:
		writeProblem(w, fmt.Errorf("%w: %s", ErrUnknown, r.URL.Path))
	case e == nil && who.rights < MayRead:
		writeProblem(w, who.refusal(MayRead))
	case e == nil: // the mux answers 404, or 405 with Allow
		f.all.serveUnknown(w, r)
	case who.rights < e.Needs && e.Pattern == "/readyz" && f.all.process.Ready() != nil:
		// The next process asks whether this one drains, and shows no token to a process that it does not know.
		writeText(w, http.StatusServiceUnavailable, "not ready\n")
	case who.rights < e.Needs:
		writeProblem(w, who.refusal(e.Needs))
	case e.Method != http.MethodGet && !slices.Contains(e.types(), contentType(r)):
		writeProblem(w, &problem{http.StatusUnsupportedMediaType, "content-type",
			"the request needs Content-Type: " + strings.Join(e.types(), " or ") +
				", so that no web page can ask for it"})
	case e.Pattern == metricsPath:
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeProblem(w, &problem{http.StatusMethodNotAllowed, "method", r.Method + " is not allowed here"})
			return
		}
		f.all.run(e, w, r)
	default:
		f.audited(who, e, w, r)
	}
}

// audited serves a request, and logs a change with the client that asked for it.
func (f *surface) audited(who *client, e *Endpoint, w *statusWriter, r *http.Request) {
	if e.Method == http.MethodGet {
		f.all.routes().mux.ServeHTTP(w, r)
		return
	}
	f.all.routes().mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, who)))
	what := "admin: change"
	if e.takes("dry_run") && dryRun(r) {
		what = "admin: dry run"
	}
	slog.Info(what, append([]any{"method", r.Method, "path", r.URL.Path, "status", w.status}, who.attrs()...)...)
}

func (s *Surfaces) run(e *Endpoint, w http.ResponseWriter, r *http.Request) {
	computed := func() {}
	if e.Heavy {
		var read func()
		if computed, read = s.admit(r); computed == nil {
			w.Header().Set("Retry-After", "1")
			writeProblem(w, &problem{http.StatusServiceUnavailable, "busy", "too many expensive calls run already"})
			return
		}
		defer read()
		defer computed()
	}
	if e.serve != nil {
		e.serve(s, w, r)
		return
	}
	c := call{process: s.process, request: r, writer: w, status: http.StatusOK}
	c.client, _ = r.Context().Value(clientKey{}).(*client)
	end := func() {}
	if e.Slow {
		end = unbounded(w)
	}
	answer, err := e.answer(&c)
	end()
	computed() // a client that does not read its answer keeps no other from calling
	if err != nil {
		writeProblem(w, err)
		return
	}
	if o, ok := answer.(outcome); ok && !o.succeeded() {
		c.status = http.StatusUnprocessableEntity
	}
	writeAnswer(w, c.status, answer)
}

// admit takes the places of an expensive call, of which the owner has one of its own. computed and read give them back
// when there is an answer, and when it is written; nil: there is no place.
func (s *Surfaces) admit(r *http.Request) (computed, read func()) {
	take := func(places chan struct{}) (giveBack func()) {
		select {
		case places <- struct{}{}:
			return sync.OnceFunc(func() { <-places })
		default:
			return nil
		}
	}
	from, _ := r.Context().Value(peerKey{}).(*peer)
	owner := from != nil && from.owns()
	if read = func() {}; !owner {
		if read = take(s.unread); read == nil {
			return nil, nil
		}
	}
	if computed = take(s.heavy); computed == nil && owner {
		computed = take(s.owners)
	}
	if computed == nil {
		read()
	}
	return computed, read
}

// serveUnknown answers a request without an endpoint as the mux does, by JSON.
func (s *Surfaces) serveUnknown(w http.ResponseWriter, r *http.Request) {
	noted := &statusWriter{ResponseWriter: w, dropBody: true}
	s.routes().mux.ServeHTTP(noted, r)
	if noted.status == http.StatusMethodNotAllowed {
		writeProblem(w, &problem{http.StatusMethodNotAllowed, "method",
			r.Method + " is not allowed here, but " + w.Header().Get("Allow")})
		return
	}
	writeProblem(w, fmt.Errorf("%w: %s", ErrUnknown, r.URL.Path))
}

// statusWriter remembers the status.
// Owned by the goroutine of the request.
type statusWriter struct {
	http.ResponseWriter
	status   int
	dropBody bool // nothing is written but header fields
}

// WriteHeader remembers the status.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	if !w.dropBody {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write writes the body.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.dropBody {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// contentType returns the media type of the body without its parameters; "": none, or a malformed one.
func contentType(r *http.Request) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

// outcome is an answer that may say that nothing was done, with the status 422.
type outcome interface{ succeeded() bool }

// itemized is an answer that is written item by item.
type itemized interface {
	writeTo(w *bufio.Writer) error
}

// writeTo writes l item by item, so that the whole text is never in memory.
func (l *List[T]) writeTo(w *bufio.Writer) error {
	_, _ = w.WriteString(`{"items":[`)
	for i := range l.Items {
		if i > 0 {
			_ = w.WriteByte(',')
		}
		text, err := json.Marshal(&l.Items[i])
		if err != nil {
			return err
		}
		_, _ = w.Write(text)
	}
	_ = w.WriteByte(']')
	if l.Next != "" {
		text, err := json.Marshal(l.Next)
		if err != nil {
			return err
		}
		_, _ = w.WriteString(`,"next":`)
		_, _ = w.Write(text)
	}
	_, _ = w.WriteString("}\n")
	return w.Flush()
}

// writeAnswer writes v as JSON. An error means that the client has gone.
func writeAnswer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if list, ok := v.(itemized); ok {
		_ = list.writeTo(bufio.NewWriterSize(w, chunkSize))
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

func writeProblem(w http.ResponseWriter, err error) {
	status, code := statusOf(err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="edge"`)
	}
	w.Header().Del("Content-Length")
	writeAnswer(w, status, &Problem{err.Error(), code})
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
