package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Process is what the surface asks of the process that it belongs to. Safe for any goroutine but a reactor's. An answer
// belongs to the caller.
type Process interface {
	// Status says how the process does.
	Status() *Status
	// Configuration returns the configuration in force, without its secrets. ErrNoText: its text is not kept.
	Configuration() (*Configuration, error)
	// Inspect returns what sees the parts of the process that serve.
	Inspect() Inspector
	// Requests returns requests that are remembered. ErrUnknown: the process remembers none, or not the request that q
	// asks for.
	Requests(ctx context.Context, q *RequestQuery) ([]Request, error)
	// Reload reads the configuration again and applies it. An error means that it was not even read.
	Reload(ctx context.Context) (*Reloaded, error)
	// Plan reads the configuration, and says what a reload would change.
	Plan() (*Plan, error)
	// Configure applies a configuration that a client has sent, or says what that would change. ErrStale: another
	// version is in force than the client names.
	Configure(s *Submission) (*Reloaded, error)
	// Versions returns the configurations that are kept, the oldest first.
	Versions() []Version
	// Rollback applies a version again; 0: the one before. ErrNoVersion: there is none.
	Rollback(version int) (*Reloaded, error)
	// Upgrade hands over to a new process. It returns when the new process serves, or when that has failed and this one
	// goes on. The end of ctx ends the wait, but not the upgrade. An error says why no upgrade has begun.
	Upgrade(ctx context.Context, ask *Upgrade) (*Upgraded, error)
	// Stop begins to end the process.
	Stop(now bool) (*Stopping, error)
	// SetLogLevel makes the error log say more or less for a time.
	SetLogLevel(level string, d time.Duration) (*LogLevel, error)
	// Cache returns the cache. ErrNoCache: there is none.
	Cache() (Cache, error)
	// Ready returns why the process is not ready for requests; nil: it is.
	Ready() error
	// Metrics serves the counters.
	Metrics() http.Handler
}

// Inspector sees the parts of a process that serve. Safe for any goroutine but a reactor's.
type Inspector interface {
	// Routes returns the routes, in the order of the files.
	Routes() []Route
	// Upstreams returns the upstreams with their backends, by name.
	Upstreams() []Upstream
	// ChangeBackend does what an operator asks of a backend, and returns how it stands then. ErrUnknown: there is none.
	ChangeBackend(upstream, backend string, change *BackendChange) (*Backend, error)
	// Connections returns the connections after a cursor, "" for the first ones, that keep returns true for, at most n.
	// next is the cursor of the following ones; "" at the end. keep is called on reactors.
	Connections(ctx context.Context, cursor string, n int, keep func(c *Connection) bool) (
		list []Connection, next string, err error)
	// Certificates returns the certificates of listeners.
	Certificates() []Certificate
}

// What a Process answers with. Other errors are faults of the process: 500.
var (
	ErrUnknown  error = &problem{http.StatusNotFound, "unknown", "there is no such thing"}
	ErrConflict error = &problem{http.StatusConflict, "conflict", "not now"}
	ErrLast     error = &problem{http.StatusConflict, "last-backend", `"force": true takes it out all the same`}
	ErrStale    error = &problem{http.StatusPreconditionFailed, "stale", "the configuration has changed meanwhile"}
	ErrInvalid  error = &problem{http.StatusBadRequest, "invalid", "this cannot be"}
	ErrNoText   error = &problem{http.StatusNotFound, "no-text",
		"the process was not started from files, so there is no text of its configuration"}
	// ErrNoVersion says that a version of the configuration is not kept.
	ErrNoVersion = fmt.Errorf("%w: there is no such version", ErrUnknown)
)

// problem is an error with its status and its word for programs.
// Immutable.
type problem struct {
	status int
	code   string
	text   string
}

// Error returns the text.
func (p *problem) Error() string { return p.text }

func statusOf(err error) (status int, code string) {
	var p *problem
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p.status, p.code
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, "too-large"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, "timeout"
	}
	return http.StatusInternalServerError, "fault"
}
