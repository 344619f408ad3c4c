package observe

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"
)

// kindsMax bounds what Limited remembers. Kinds beyond it share one limit per level.
const kindsMax = 1024

// NewLogger makes the event log: text for a terminal, else one JSON object per line. level may be
// changed at any time.
func NewLogger(level *slog.LevelVar, output io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if isTerminal(output) {
		return slog.New(slog.NewTextHandler(output, o))
	}
	return slog.New(slog.NewJSONHandler(output, o))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	st, err := file.Stat()
	return err == nil && st.Mode()&fs.ModeCharDevice != 0
}

// Limited is a slog.Handler that lets only so many lines of one kind through per second; lines are
// of one kind when their level and message are equal. A peer must not be able
// to fill the log with lines that it provokes.
//
// The next line of the kind that passes says how many did not, in the attribute "suppressed". If
// none comes, any other line two seconds later brings the count along as a line of its own. Safe
// for any goroutine.
type Limited struct {
	next   slog.Handler
	shared *limits
}

type kind struct {
	level   slog.Level
	message string
}

// window counts the lines of one kind since start.
type window struct {
	start      time.Time
	passed     int
	suppressed uint64
}

// limits is what a handler shares with those derived from it.
type limits struct {
	root      slog.Handler // for lines of our own
	perSecond int

	mu    sync.Mutex
	kinds map[kind]*window
	swept time.Time
}

// NewLimited wraps next. perSecond below 1 counts as 1.
func NewLimited(next slog.Handler, perSecond int) *Limited {
	shared := &limits{root: next, perSecond: max(perSecond, 1), kinds: make(map[kind]*window)}
	return &Limited{next: next, shared: shared}
}

// Enabled asks the wrapped handler.
func (l *Limited) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

// Handle passes r on or counts it.
func (l *Limited) Handle(ctx context.Context, r slog.Record) error {
	pass, suppressed, late := l.shared.admit(kind{r.Level, r.Message}, time.Now())
	for _, s := range late {
		// Best effort: an error of the handler is reported for the caller's own line below.
		_ = l.shared.root.Handle(ctx, s)
	}
	if !pass {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Uint64("suppressed", suppressed))
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs derives a handler that shares the limits.
func (l *Limited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Limited{next: l.next.WithAttrs(attrs), shared: l.shared}
}

// WithGroup derives a handler that shares the limits.
func (l *Limited) WithGroup(name string) slog.Handler {
	return &Limited{next: l.next.WithGroup(name), shared: l.shared}
}

// admit decides about one line. suppressed is for that line to tell; late are lines that tell of
// kinds gone quiet.
func (s *limits) admit(k kind, now time.Time) (pass bool, suppressed uint64, late []slog.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.swept) >= time.Second {
		late = s.sweep(k, now)
		s.swept = now
	}
	w := s.kinds[k]
	if w == nil {
		if len(s.kinds) >= kindsMax {
			k.message = "other lines" // the kind of all that found no place
		}
		if w = s.kinds[k]; w == nil {
			w = &window{start: now}
			s.kinds[k] = w
		}
	}
	if now.Sub(w.start) >= time.Second {
		suppressed = w.suppressed
		*w = window{start: now}
	}
	if w.passed >= s.perSecond {
		w.suppressed++
		return false, 0, late
	}
	w.passed++
	return true, suppressed, late
}

// sweep forgets the kinds that were quiet for a second after their window, but for k, which
// speaks for itself.
func (s *limits) sweep(k kind, now time.Time) (late []slog.Record) {
	for other, w := range s.kinds {
		if other == k || now.Sub(w.start) < 2*time.Second {
			continue
		}
		if w.suppressed > 0 {
			r := slog.NewRecord(now, other.level, other.message, 0)
			r.AddAttrs(slog.Uint64("suppressed", w.suppressed))
			late = append(late, r)
		}
		delete(s.kinds, other)
	}
	return late
}
