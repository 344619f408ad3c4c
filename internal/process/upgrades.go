package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/process/handover"
	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// upgrades are the attempts of this process to hand over to a new one, one at a time. Safe for any goroutine.
//
//	SIGUSR2, edge upgrade ─► begin ─► check ─► endOldest ─► start ─┐
//	edge run --upgrade ─► upgradeSocket ───────────────────────────┴─► OldSide ─► SERVING ─► yielded ─► BYE: it ends
//	                                                                     └────────── it failed ──► it serves on
type upgrades struct {
	program        *program
	check          []string // arguments by which a program checks the configuration; none: it cannot
	predecessor    *predecessor
	newInheritance func(takeFiles bool) (*inheritance, error) // what there is to hand over
	endProcess     func()                                     // makes the goroutine of Run end this process at once

	wake chan struct{} // has an element when changes were added

	mu        sync.Mutex
	current   *attempt        // nil: none is under way; guarded by mu
	blocked   error           // why there will be none any more; nil: there may be; guarded by mu
	changes   []servingChange // that the goroutine of Run has not seen; guarded by mu
	lastBegun time.Time       // when the last attempt began; guarded by mu
	newServes bool            // the new process serves; guarded by mu
}

// servingChange is a change of which process serves, for the goroutine of Run.
type servingChange struct {
	pid  int   // of the process that serves
	ends bool  // nothing is left here: this process ends
	err  error // why this process serves again
}

// attempt is one attempt. Its fields are of the goroutine that makes it.
type attempt struct {
	upgrades    *upgrades
	begun       time.Time
	ctx         context.Context // cancelled with the reason
	cancel      context.CancelCauseFunc
	ask         upgrade.AskBody
	progress    func(upgrade.Frame) // for the command that asked for it; nil: none did
	kill        func()              // ends the new process
	connections *connectionHandover // nil before GO
	ended       chan struct{}       // closed at the end
}

var (
	errUnderWay = errors.New("an upgrade is under way")
	errFirst    = errors.New("this process is the first one of its container (PID 1), which ends with it: start edge " +
		"with --supervise, or replace the container")
	errDraining = errors.New("this process drains")
	errEnds     = errors.New("the process before ends: it was told to")
)

// drainingMax is how many processes of earlier upgrades may drain while another upgrade begins.
const drainingMax = 2

func newUpgrades(p *program, check []string) *upgrades {
	return &upgrades{program: p, check: check, wake: make(chan struct{}, 1)}
}

// begin starts the program that ask names, "" for the program of this process, and hands over to it. It returns when
// that has begun; progress gets each step. The error says why nothing begins.
func (u *upgrades) begin(ask upgrade.AskBody, progress func(upgrade.Frame)) error {
	bin := ask.Binary
	switch {
	case os.Getpid() == 1:
		return errFirst
	case bin != "" && !filepath.IsAbs(bin):
		return errRelative
	}
	a, err := u.reserve(progress, ask)
	if err != nil {
		return err
	}
	bin = cmp.Or(bin, u.program.path)
	slog.Info("upgrading", "program", bin)
	go func() { a.end(a.start(bin)) }()
	return nil
}

// beginSameProgram is begin with the program of the start. The error log alone hears why it is not possible.
func (u *upgrades) beginSameProgram() {
	if err := u.begin(upgrade.AskBody{}, nil); err != nil {
		slog.Error("no upgrade", "error", err)
	}
}

func (a *administration) Upgrade(ctx context.Context, ask *admin.Upgrade) (*admin.Upgraded, error) {
	steps, gone := make(chan upgrade.Frame, 1), make(chan struct{})
	defer close(gone)
	err := a.parts.Load().reloads.upgrades.begin(upgrade.AskBody(*ask),
		func(f upgrade.Frame) {
			select {
			case steps <- f:
			case <-gone:
			}
		})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, err)
	}
	done := &admin.Upgraded{PID: os.Getpid(), Steps: []string{}}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case f := <-steps:
			switch b := f.Body.(type) {
			case upgrade.WorkingBody:
				if n := len(done.Steps); n == 0 || done.Steps[n-1] != b.Step { // each is told once a second
					done.Steps = append(done.Steps, b.Step)
				}
			case upgrade.ServingBody:
				done.Upgraded, done.PID = true, b.PID
				return done, nil
			case upgrade.RefuseBody:
				done.Reason = b.Reason
				return done, nil
			}
		}
	}
}

// handOverTo hands over to a process that has connected, whose first message is first.
func (u *upgrades) handOverTo(c *handover.Channel, p *handover.Peer, first []byte) {
	a, i, err := u.reserveFor(p)
	if err != nil {
		// Without a word it would take the end of the channel for the end of this process, and serve.
		_ = c.Send(&upgrade.Frame{Version: upgrade.VersionMin, Type: upgrade.Refuse,
			Body: upgrade.RefuseBody{Reason: err.Error()}}, nil)
		c.Close()
		slog.Warn("no upgrade for a process that asks to take over", "pid", p.PID, "error", err)
		return
	}
	defer i.close()
	slog.Info("upgrading: a new process takes over", "pid", p.PID)
	a.kill = func() { _ = p.Kill() } // it may have ended
	a.end(a.handOver(i, c, first))
}

// reserveFor makes an attempt for a process that asks to take over, and what it gets.
func (u *upgrades) reserveFor(p *handover.Peer) (a *attempt, i *inheritance, err error) {
	if a, err = u.reserve(nil, upgrade.AskBody{}); err != nil {
		return nil, nil, err
	}
	if err = checkControlGroup(p.PID); err == nil {
		i, err = u.newInheritance(false)
	}
	if err != nil {
		u.release(a)
		return nil, nil, err
	}
	return a, i, nil
}

// reserve makes an attempt, for ask, unless there must be none.
func (u *upgrades) reserve(progress func(upgrade.Frame), ask upgrade.AskBody) (*attempt, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current != nil {
		return nil, errUnderWay
	}
	if u.blocked != nil {
		return nil, u.blocked
	}
	if n := u.predecessor.draining(); n >= drainingMax && !ask.Now {
		return nil, fmt.Errorf("%d processes of earlier upgrades drain still, the last one with %d connections: wait, "+
			"or have edge upgrade --now end the oldest one", n, u.predecessor.connections())
	}
	a := &attempt{upgrades: u, begun: time.Now(), ask: ask, progress: progress, ended: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	u.current, u.lastBegun = a, a.begun
	return a, nil
}

// release lets the next attempt begin.
func (u *upgrades) release(a *attempt) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current = nil
	a.cancel(nil)
	close(a.ended)
}

// block keeps attempts from beginning and ends the attempt under way, unless the new process serves by then. It
// returns when that is decided.
func (u *upgrades) block(why error) {
	u.mu.Lock()
	u.blocked = why
	a := u.current
	u.mu.Unlock()
	if a == nil {
		return
	}
	a.cancel(errors.Join(errEnds, why))
	select {
	case <-a.ended:
	case <-time.After(attemptCancelTime): // it has sent GO
	}
}

// attemptCancelTime is how long an attempt may take to end when it is cancelled.
const attemptCancelTime = 3 * time.Second

func (u *upgrades) busy() bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.current != nil
}

// newProcessServes reports whether the new process serves, and this one drains.
func (u *upgrades) newProcessServes() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.newServes
}

func (u *upgrades) begunSince(t time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lastBegun.After(t)
}

// announce passes a change to the goroutine of Run.
func (u *upgrades) announce(s servingChange) {
	u.mu.Lock()
	u.newServes = s.err == nil
	u.changes = append(u.changes, s)
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// nextChange returns the oldest change that was not seen yet.
func (u *upgrades) nextChange() (s servingChange, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.changes) == 0 {
		return servingChange{}, false
	}
	s, u.changes = u.changes[0], u.changes[1:]
	return s, true
}

// start checks bin, starts it and hands over to it. Nothing ends for it before all that can be checked was.
func (a *attempt) start(bin string) error {
	u := a.upgrades
	a.reportStep("checking the configuration with " + bin)
	if err := u.program.check(a.ctx, bin, u.check); err != nil {
		return err
	}
	i, err := u.newInheritance(a.ask.Force)
	if err != nil {
		return err
	}
	defer i.close()
	if i.configuration != nil {
		a.reportStep("the new process " + keepsConfiguration + ": the files differ, and --force has it take them")
	}
	if a.ask.Now && u.predecessor.draining() >= drainingMax {
		a.reportStep("ending the oldest process that drains")
		if err := u.predecessor.endOldestDraining(a.ctx); err != nil {
			return err
		}
	}
	ours, theirs, err := handover.Pair()
	if err != nil {
		return err
	}
	cmd := u.program.command(context.Background(), bin, u.program.args...)
	cmd.Env = append(cmd.Env, upgradeVariable+"=3")
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	a.reportStep("starting it")
	err = cmd.Start()
	_ = theirs.Close() // now only the child has that end
	if err != nil {
		ours.Close()
		return u.program.explainStart(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	a.kill = func() { _ = cmd.Process.Kill() } // it may have ended
	if err = a.handOver(i, ours, nil); err == nil {
		return nil
	}
	select {
	case how := <-ended:
		if how != nil {
			return fmt.Errorf("%w (%w)", err, how)
		}
		return fmt.Errorf("%w (exit status 0)", err)
	case <-time.After(newProcessExitTime):
		a.kill()
		return err
	}
}

// newProcessExitTime is how long a new process that has closed its channel may take to end.
const newProcessExitTime = 5 * time.Second

// handOver hands the inheritance over to the process at the other end of c, which it takes over.
func (a *attempt) handOver(i *inheritance, c *handover.Channel, first []byte) error {
	cancel := make(chan error, 1)
	stop := context.AfterFunc(a.ctx, func() { cancel <- context.Cause(a.ctx) })
	defer stop()
	i.offer.Before = a.upgrades.predecessor.draining()
	a.connections = newConnectionHandover(a, i)
	times := upgrade.DefaultTimes
	times.Ready = i.timeout
	// The new process begins with reading the configuration, too.
	times.Hello = max(min(times.Hello, i.timeout), 2*time.Since(a.begun))
	side := handover.OldSide{
		Channel: c, Offer: i.offer, Files: i.files(), Sockets: i.sockets, Process: a.connections, Cancel: cancel,
		Times: times, Progress: a.reportStep, First: first,
	}
	err := side.Run()
	a.connections.finish(err)
	return err
}

// end tells how it went.
func (a *attempt) end(err error) {
	u := a.upgrades
	if err != nil {
		slog.Error("upgrade failed, this process serves on", "error", err)
		a.report(upgrade.Frame{Type: upgrade.Refuse, Body: upgrade.RefuseBody{Reason: err.Error()}})
	}
	u.release(a)
	if err == nil {
		u.announce(servingChange{ends: true})
	}
}

// reportStep says what the attempt does now.
func (a *attempt) reportStep(step string) {
	slog.Debug("upgrading", "step", step)
	a.report(upgrade.Frame{Type: upgrade.Working, Body: upgrade.WorkingBody{Step: step}})
}

func (a *attempt) report(f upgrade.Frame) {
	if a.progress != nil {
		f.Version = upgrade.VersionMin
		a.progress(f)
	}
}

// checkControlGroup returns an error where systemd would not believe that process pid is the main process of the
// service: it has to be in the same control group.
func checkControlGroup(pid int) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	ours, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	theirs, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || string(ours) == string(theirs) {
		return nil
	}
	return fmt.Errorf("it is in the control group %s, and systemd would take the service for ended: edge upgrade "+
		"starts the new process in the right one", strings.TrimSpace(string(theirs)))
}
