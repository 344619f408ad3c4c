package testutil

import (
	"bytes"
	"log"
	"log/slog"
	"sync"
	"testing"
)

// EventLog gives the events of the process to h until the test ends.
//
//	var said testutil.Output
//	testutil.EventLog(t, slog.NewTextHandler(&said, nil))
func EventLog(t testing.TB, h slog.Handler) {
	t.Helper()
	before, to, flags := slog.Default(), log.Writer(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(to) // slog.SetDefault has led package log to h
		log.SetFlags(flags)
	})
	slog.SetDefault(slog.New(h))
}

// Output is a buffer that some goroutines write while others look. The zero value is ready. Safe for any goroutine.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String returns a copy of what was written since the last Take.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Take is String, and empties o.
func (o *Output) Take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.buf.Reset()
	return o.buf.String()
}
