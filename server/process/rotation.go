package process

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process/rotate"
)

const (
	rotateEvery = time.Second // how often the sizes of logs are looked at
	rotatePause = time.Minute // after a log could not be opened again
)

// rotation rotates the logs of a process, as SIGUSR1 does after other programs have renamed them.
//
//	run ── a file is due: renamed ──► opened again ──► tidy: compressed, the oldest removed
//
// Two goroutines, from begin to end: compressing a large file delays no rotation.
type rotation struct {
	process *running
	ended   sync.WaitGroup
	quit    context.CancelFunc
	paused  time.Time           // until then nothing is renamed; owned by run
	tidying chan *rotate.Policy // has room for one: more work is found when that is done
}

// beginRotation rotates the logs of p until end.
func beginRotation(p *running) *rotation {
	ctx, quit := context.WithCancel(context.Background())
	r := &rotation{process: p, quit: quit, tidying: make(chan *rotate.Policy, 1)}
	r.ended.Go(func() { r.run(ctx) })
	r.ended.Go(func() { r.tidy(ctx) })
	return r
}

// end returns when nothing is renamed or compressed any more.
func (r *rotation) end() {
	r.quit()
	r.ended.Wait()
}

// run looks at the logs.
func (r *rotation) run(ctx context.Context) {
	ticker := time.NewTicker(rotateEvery)
	defer ticker.Stop()
	rotator, begun := rotate.NewRotator(), false
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			cfg := r.process.reloads.config()
			policy := rotate.Of(cfg)
			if policy == nil || now.Before(r.paused) {
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

// look renames what is due and has it opened again. It reports whether anything was, and no line goes to its file any
// more.
func (r *rotation) look(rotator *rotate.Rotator, policy *rotate.Policy, cfg *config.Config, now time.Time) bool {
	moved, err := rotator.Look(policy, logFiles(cfg), now)
	if err != nil {
		slog.Error("a log is not rotated", "error", err)
	}
	if len(moved) == 0 {
		return false
	}
	failed := errors.Join(r.process.events.reopen(), r.process.server.Reopen())
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

// tidy compresses and removes.
func (r *rotation) tidy(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case policy := <-r.tidying:
			for _, path := range logFiles(r.process.reloads.config()) {
				if err := rotate.Tidy(ctx, policy, path, time.Now()); err != nil {
					slog.Error("rotated logs are not tidied up", "log", path, "error", err)
				}
			}
		}
	}
}

// logFiles returns the paths of the logs that c names, each once.
func logFiles(c *config.Config) (paths []string) {
	for _, path := range append(server.LogPaths(c), filepath.Clean(c.Global.ErrorLog)) {
		if path != "stdout" && path != "stderr" && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}
