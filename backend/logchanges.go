package backend

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// flapsMax is how many changes of one member the log has a line for each minute. Above it, one line tells of all.
const flapsMax = 6

// flapWindow is the time in which they are counted.
const flapWindow = time.Minute

// loggedReasons are the reasons whose changes are logged here. Packages discovery and upstream log the others, which
// are about addresses.
const loggedReasons = Health | Ejected | Draining | Operator | Agent | AgentDrain

// changeLog logs what changes about the members of a set.
// Guarded by mu.
type changeLog struct {
	service string
	mu      sync.Mutex
	flaps   map[*Member]*flapping
}

// flapping counts the changes of one member.
type flapping struct {
	begun   time.Time // of the window
	changes int       // in it
	quiet   bool      // more than flapsMax came in the window before, or in this one
}

// LogChanges logs each change of the members of s once, as "backend down" and "backend up"; of a member that changes
// again and again one "backend flaps" a minute. Panics are logged by their beginning and their end. The log calls s
// service. stop ends that.
func LogChanges(service string, s *Set) (stop func()) {
	t := &changeLog{service: service, flaps: make(map[*Member]*flapping)}
	s.Follow((*flapsFollower)(t))
	end, endPanics := s.OnChange(t.change), s.OnPanic(t.panic)
	return func() {
		end()
		endPanics()
		s.Unfollow((*flapsFollower)(t))
	}
}

// flapsFollower is a changeLog as its Set sees it.
type flapsFollower changeLog

// Joined does nothing.
func (f *flapsFollower) Joined(*Member) {}

// Left forgets what was counted of m.
func (f *flapsFollower) Left(m *Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flaps, m)
}

// change logs c.
func (t *changeLog) change(c *Change) {
	if c.Reason&loggedReasons == 0 {
		return
	}
	level, event, was := slog.LevelWarn, "backend down", "was_up"
	if !c.On {
		level, event, was = slog.LevelInfo, "backend up", "was_down"
	}
	word := c.Why.Word
	if word == "" {
		word = c.Reason.String()
	}
	attrs := []slog.Attr{
		slog.String("upstream", t.service), slog.String("backend", c.Member.Address()), slog.Int("tier", c.Tier),
	}
	open := slog.String("open", fmt.Sprintf("%d/%d", c.Open, c.Members))
	switch n, tell := t.count(c.Member, time.Now()); {
	case tell && n > flapsMax:
		event, level = "backend flaps", slog.LevelWarn
		attrs = append(attrs, slog.Int("changes", n), slog.Bool("up", !c.On), slog.String("reason", word), open)
	case tell:
		attrs = append(append(attrs, slog.String("reason", word)), c.Facts...)
		if c.Lasted > 0 {
			attrs = append(attrs, slog.String(was, c.Lasted.Round(time.Millisecond).String()))
		}
		attrs = append(attrs, open)
		if rest := c.Member.Reasons(); !c.On && rest != 0 {
			attrs = append(attrs, slog.String("still_down", rest.String()))
		}
	default:
		return
	}
	slog.LogAttrs(context.Background(), level, event, attrs...)
}

// panic logs p, which is counted as the changes of a member are.
func (t *changeLog) panic(p *Panic) {
	n, tell := t.count(nil, time.Now())
	if !tell {
		return
	}
	level, event, was := slog.LevelWarn, "panic of backends begins", "was_well"
	if !p.On {
		level, event, was = slog.LevelInfo, "panic of backends is over", "was_panicking"
	}
	attrs := []slog.Attr{
		slog.String("upstream", t.service), slog.String("open", fmt.Sprintf("%d/%d", p.Open, p.Members)),
	}
	if p.On {
		attrs = append(attrs, slog.String("what", "too few backends serve: requests go to those that do not, too"))
	}
	if p.Lasted > 0 {
		attrs = append(attrs, slog.String(was, p.Lasted.Round(time.Millisecond).String()))
	}
	if n > flapsMax {
		attrs = append(attrs, slog.Int("changes", n))
	}
	slog.LogAttrs(context.Background(), level, event, attrs...)
}

// count counts a change of m, nil for panics. It returns how many there were in this minute and whether to tell of it.
func (t *changeLog) count(m *Member, now time.Time) (n int, tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flaps[m]
	if f == nil {
		f = &flapping{begun: now}
		t.flaps[m] = f
	}
	if now.Sub(f.begun) >= flapWindow {
		*f = flapping{begun: now, quiet: f.changes > flapsMax && now.Sub(f.begun) < 2*flapWindow}
	}
	f.changes++
	return f.changes, f.changes == flapsMax+1 || f.changes < flapsMax+1 && !f.quiet
}
