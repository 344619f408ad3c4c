package process

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// bodyName is the name of a text that a client has sent, in messages. The text is given the folder of the file that it
// takes the place of, so that relative paths lead to the same files.
const bodyName = "(body)."

// configure applies the text that a client has sent. It is kept as a version, and written nowhere. inForce returns
// what is in force. The error says why it was not even read.
func (r *reloads) configure(s *admin.Submission, inForce func() admin.InForce) (*outcome, error) {
	if r.load == nil {
		return nil, errNoFile
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := inForce(); s.Match != nil && !s.Match(now.Tag) {
		return nil, fmt.Errorf("%w: version %d is in force, with another ETag", admin.ErrStale, now.Version)
	}
	folder := ""
	if on := r.watch.files; on != nil {
		folder = filepath.Dir(on.Main)
	}
	name, err := filepath.Abs(filepath.Join(folder, bodyName+s.Format))
	if err != nil {
		return nil, err
	}
	files := &config.Files{Main: name, Texts: []schema.Text{{Path: name, Real: name, Text: s.Text}}}
	sent := &config.Sent{}
	if !s.Owner {
		sent.Known = config.Namings{} // nil would let it name anything
		if known := r.config().Namings; known != nil {
			sent.Known = known
		}
	}
	defer r.spare.borrow(r.server.Reactors())()
	cfg, report := r.load(Reading{Kept: files, Sent: sent})
	if s.DryRun {
		r.checkReach(cfg, report, files)
		o := &outcome{Report: report, Version: r.version(), Err: errInvalid}
		if report.OK() {
			o.Diff, o.Err = r.server.Plan(cfg), nil
		}
		return o, nil
	}
	o := r.apply(cfg, report, files, "sent")
	if o.Err != nil {
		return o, nil
	}
	if on := r.watch.files; on == nil || len(on.Texts) != 1 || string(on.Texts[0].Text) != string(s.Text) ||
		!on.Unchanged() {
		r.differs.Store(files)
		slog.Warn("a client has sent this configuration: the files differ, and the next reload or start applies those",
			"version", o.Version)
	} else {
		r.differs.Store(nil)
	}
	return o, nil
}

func (a *administration) Configure(s *admin.Submission) (*admin.Reloaded, error) {
	if a.draining.Load() {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, errDrains)
	}
	r := a.parts.Load().reloads
	o, err := r.configure(s, a.inForce)
	if errors.Is(err, errNoFile) {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, err)
	}
	if err != nil {
		return nil, err
	}
	done, err := a.reloaded(o)
	if err == nil {
		done.Differs = r.differs.Load() != nil
		if s.DryRun {
			done.DryRun, done.Applied, done.Differs = o.Err == nil, false, false
		}
	}
	return done, err
}
