package process

import (
	"log/slog"
	"os"
	"sync"
	"time"
)

// levels is which level of the event log holds: the configured one, or another one for a time.
// Guarded by mu.
type levels struct {
	mu    sync.Mutex
	usual string      // of the configuration
	other string      // for a time; "": none
	until time.Time   // when other ends
	timer *time.Timer // ends it; nil: there is none
}

// levelVariable names the variable of the environment with a level that goes before the configured one.
const levelVariable = "EDGE_LOG"

// setLevel makes level the configured one. Where another one holds for a time, it goes on to.
func (e *eventLog) setLevel(level string) {
	if asked := os.Getenv(levelVariable); new(slog.Level).UnmarshalText([]byte(asked)) == nil {
		level = asked
	} else if asked != "" {
		slog.Warn(levelVariable+" is no level: debug, info, warn or error", "value", asked)
	}
	l := &e.levels
	l.mu.Lock()
	defer l.mu.Unlock()
	l.usual = level
	e.useLevel()
}

// setLevelFor sets another level for a time.
func (e *eventLog) setLevelFor(level string, d time.Duration) {
	l := &e.levels
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.other, l.until = level, time.Now().Add(d)
	var own *time.Timer
	own = time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.timer == own { // nothing else was asked since
			l.other, l.timer = "", nil
			e.useLevel()
		}
	})
	l.timer = own
	e.useLevel()
}

// useLevel sets the level that is due. levels.mu is held.
func (e *eventLog) useLevel() {
	text := e.levels.usual
	if e.levels.other != "" {
		text = e.levels.other
	}
	var level slog.Level
	if level.UnmarshalText([]byte(text)) == nil {
		e.level.Set(level)
	}
}

// present returns the level that holds; until is when the configured level does again, nil: it does.
func (e *eventLog) present() (level string, until *time.Time) {
	l := &e.levels
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.other == "" {
		return l.usual, nil
	}
	at := l.until
	return l.other, &at
}
