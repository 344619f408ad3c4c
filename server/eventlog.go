package server

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/edge-proxy/edge/observe"
)

// eventsPerSecond bounds the lines of one kind in the event log: what a client can provoke must not fill a disk.
const eventsPerSecond = 100

// eventLog is the log of what happens to the process: text on a terminal, else JSON.
// Safe for any goroutine.
type eventLog struct {
	level slog.LevelVar
	mu    sync.Mutex
	path  string   // guarded by mu
	file  *os.File // guarded by mu

	detached bool // stderr follows file; guarded by mu
}

// openEventLog opens path, which may be "stderr".
func openEventLog(path, level string) (*eventLog, error) {
	file, err := openEvents(path)
	if err != nil {
		return nil, err
	}
	e := &eventLog{path: path, file: file}
	e.setLevel(level)
	return e, nil
}

func openEvents(path string) (*os.File, error) {
	if path == "stderr" {
		return os.Stderr, nil
	}
	file, err := observe.OpenFile(path)
	if err != nil {
		return nil, fmt.Errorf("error log: %w", err)
	}
	return file, nil
}

// logger makes the logger that writes to e.
func (e *eventLog) logger() *slog.Logger {
	return slog.New(observe.NewLimited(observe.NewLogger(&e.level, e).Handler(), eventsPerSecond))
}

// Write writes one line.
func (e *eventLog) Write(line []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.file.Write(line)
}

// Stat says what the output is: a terminal gets text.
func (e *eventLog) Stat() (fs.FileInfo, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.file.Stat()
}

func (e *eventLog) setLevel(level string) {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		e.level.Set(l)
	}
}

// reopen opens the path again after the file was renamed.
func (e *eventLog) reopen() error {
	e.mu.Lock()
	path := e.path
	e.mu.Unlock()
	if path == "stderr" {
		return nil
	}
	file, err := openEvents(path)
	if err != nil {
		return err
	}
	e.use(path, file)
	return nil
}

// use writes to file from now on and closes the one before.
func (e *eventLog) use(path string, file *os.File) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file != os.Stderr && e.file != file {
		_ = e.file.Close()
	}
	e.path, e.file = path, file
	if e.detached {
		_ = e.redirect() // at the worst it stays what it was
	}
}

// close closes the file. Stderr stays what it is, for the last words of the process.
func (e *eventLog) close() {
	e.mu.Lock()
	e.detached = false
	e.mu.Unlock()
	e.use("stderr", os.Stderr)
}

// openEvents opens the event log of the new configuration if it is another one; commit switches to it.
func (b *build) openEvents() error {
	path := b.config.Global.ErrorLog
	if b.server.opts.events == nil || path == b.server.present.config.Global.ErrorLog {
		return nil
	}
	file, err := openEvents(path)
	if err != nil {
		return err
	}
	b.events = file
	b.fresh = append(b.fresh, func() {
		if file != os.Stderr {
			_ = file.Close()
		}
	})
	return nil
}
