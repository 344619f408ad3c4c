package rotate

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/config"
)

const (
	rotateEvery = time.Second      // how often the sizes of logs are looked at
	configEvery = 10 * time.Second // how often a configuration without rotation is looked at
	tidyAgain   = time.Minute      // after a file was in use
	rotatePause = time.Minute      // after a log could not be opened again
)

// Logs are the logs of a process. Its functions are safe for any goroutine.
type Logs struct {
	Config func() *config.Config                   // the present one
	Files  func(c *config.Config) (paths []string) // each once
	Reopen func() error                            // makes the writers open all paths again
}

// Rotation rotates the logs of a process, as SIGUSR1 does after other programs have renamed them.
//
//	run ── a file is due: renamed ──► opened again ──► tidy: compressed, the oldest removed
//
// Two goroutines, from begin to end: compressing a large file delays no rotation.
type Rotation struct {
	logs    Logs
	ended   sync.WaitGroup
	quit    context.CancelFunc
	paused  time.Time    // until then nothing is renamed; owned by run
	tidying chan *Policy // has room for one: more work is found when that is done
}

// Begin rotates logs until End.
func Begin(logs Logs) *Rotation {
	ctx, quit := context.WithCancel(context.Background())
	r := &Rotation{logs: logs, quit: quit, tidying: make(chan *Policy, 1)}
	r.ended.Go(func() { r.run(ctx) })
	r.ended.Go(func() { r.tidy(ctx) })
	return r
}

// End returns when nothing is renamed or compressed any more.
func (r *Rotation) End() {
	r.quit()
	r.ended.Wait()
}

func (r *Rotation) run(ctx context.Context) {
	ticker := time.NewTicker(rotateEvery)
	defer ticker.Stop()
	rotator, begun := NewRotator(), false
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			cfg := r.logs.Config()
			policy := Of(cfg)
			if policy == nil {
				ticker.Reset(configEvery)
				continue
			}
			ticker.Reset(rotateEvery)
			if now.Before(r.paused) {
				continue
			}
			whole := r.look(rotator, policy, cfg, now)
			if whole || !begun { // the process before may have left some work
				begun = true
				select {
				case r.tidying <- policy:
				default:
				}
			}
		}
	}
}

// look renames what is due and makes writers open it again. It reports whether anything was, and no line goes to its
// file any more.
func (r *Rotation) look(rotator *Rotator, policy *Policy, cfg *config.Config, now time.Time) bool {
	moved, err := rotator.Look(policy, r.logs.Files(cfg), now)
	if err != nil {
		slog.Error("a log is not rotated", "error", err)
	}
	if len(moved) == 0 {
		return false
	}
	failed := r.logs.Reopen()
	for _, m := range moved {
		if err := m.Settle(); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		r.paused = now.Add(rotatePause)
		slog.Error("rotated logs are not opened again", "error", failed)
		return false
	}
	for _, m := range moved {
		slog.Info("log rotated", "log", m.Path, "to", m.To)
	}
	return true
}

func (r *Rotation) tidy(ctx context.Context) {
	var policy *Policy
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case policy = <-r.tidying:
		case <-again.C:
		}
		for _, path := range r.logs.Files(r.logs.Config()) {
			left, err := Tidy(ctx, policy, path, time.Now())
			if err != nil {
				slog.Error("rotated logs are not tidied up", "log", path, "error", err)
			}
			if left {
				again.Reset(tidyAgain)
			}
		}
	}
}
