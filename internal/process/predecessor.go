package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/pidfile"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process/handover"
	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/server"
)

// predecessor is the process that this one takes over from, as this one talks to it. nil: there is none. Safe for any
// goroutine once it was made.
//
//	joinPredecessor ─► server.New, Listen: sockets are adopted ─► user ─► Start ─► ready ─► GO ─► accept, names ─► BYE
//	                      └────────────────────── an error: refuse ──────────────────┘
type predecessor struct {
	side        *handover.NewSide
	inheritance *handover.Inheritance
	pid         int           // 0: it is not known
	texts       *config.Files // of the configuration that it serves, where the files differ; nil: they do not
}

var (
	errNoChannel = errors.New(upgradeVariable + " is set, but is no channel to a running process: only edge sets it")
	errNoProcess = errors.New("--upgrade takes over from a running process, and none listens: start edge without it")
	errNoSocket  = errors.New("--upgrade needs upgrade_sock in the configuration, where the running process listens")
)

// joinPredecessor begins to take over from the process that has started this one or, with ask, from the one at
// upgrade_sock. before is nil where neither is to be, and the pid file is taken then; otherwise that comes later. serve
// is what this process is to serve: cfg, or the texts that the process before serves, as kept reads them.
func joinPredecessor(cfg *config.Config, ask bool, p *program, kept func(*config.Files) (*config.Config, error)) (
	serve *config.Config, before *predecessor, pid *pidfile.File, err error) {
	c, err := channelToPredecessor(cfg, ask)
	if err != nil {
		return nil, nil, nil, err
	}
	if c == nil {
		pid, err = pidfile.Take(cfg.Global.PIDFile)
		return cfg, nil, pid, err
	}
	before = &predecessor{pid: c.PID()}
	before.side = handover.Join(c, upgrade.HelloBody{
		Build: p.build(), PID: os.Getpid(), Free: freeDescriptors(),
		Reactors: cmp.Or(cfg.Global.WorkerThreads, runtime.GOMAXPROCS(0)),
	}, upgrade.Times{})
	if before.inheritance, err = before.side.Inherit(); err != nil {
		return nil, nil, nil, fmt.Errorf("upgrade: %w", err)
	}
	before.side.Step("loading the configuration")
	if fd, ok := before.inheritance.Files[configurationName]; ok {
		defer handover.CloseAll([]int{fd})
		before.texts = &config.Files{}
		if err = handover.ReadMemory(configurationName, fd, before.texts); err == nil {
			cfg, err = kept(before.texts)
		}
		if err != nil {
			before.refuse(err)
			return nil, nil, nil, err
		}
	}
	return cfg, before, pidfile.Inherited(cfg.Global.PIDFile), nil
}

// channelToPredecessor returns the channel to the process before; nil: there is none to be.
func channelToPredecessor(cfg *config.Config, ask bool) (*handover.Channel, error) {
	if text := os.Getenv(upgradeVariable); text != "" {
		if err := os.Unsetenv(upgradeVariable); err != nil {
			return nil, err
		}
		fd, err := strconv.Atoi(text)
		if err != nil || fd < 3 {
			return nil, errNoChannel
		}
		c, err := handover.Open(fd)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoChannel, err)
		}
		return c, nil
	}
	if !ask {
		return nil, nil
	}
	if cfg.Global.UpgradeSock == "" {
		return nil, errNoSocket
	}
	c, p, err := handover.Dial(cfg.Global.UpgradeSock)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %w", errNoProcess, err)
	}
	if err != nil {
		return nil, fmt.Errorf("upgrade_sock: %w", err)
	}
	p.Close()
	return c, nil
}

// freeDescriptors returns how many descriptors the process may still open.
func freeDescriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	free := int(min(limit.Cur, 1<<30))
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		free -= len(list)
	}
	return max(free, 0)
}

// ticketKeys returns the keys of the process before, for server.Options.
func (p *predecessor) ticketKeys() (keys [][32]byte) {
	if p == nil {
		return nil
	}
	for _, k := range p.inheritance.Secrets.TicketKeys {
		if len(k) == 32 {
			keys = append(keys, [32]byte(k))
		}
	}
	return keys
}

// generation returns how many processes have taken over before this one serves.
func (p *predecessor) generation() int {
	if p == nil {
		return 0
	}
	return p.inheritance.Generation
}

// inherit makes a Server take over sockets and keys; where there is no process before, sockets of a supervisor.
func (p *predecessor) inherit(o *server.Options, activated *activatedSockets) {
	if p == nil {
		activated.addTo(o)
		return
	}
	o.TicketKeys, o.Before = p.ticketKeys(), p.pid
	o.Generation = p.generation()
	copy(o.QUICSecret[:], p.inheritance.Secrets.QUIC)
	o.Adopt, o.Suspended = socketsToAdopt(p.inheritance), true
	if fd, ok := p.inheritance.Files[cacheName]; ok {
		o.CacheFrom = os.NewFile(uintptr(fd), cacheName)
	}
}

// pidFile returns the pid file of the process before; nil: it sent none.
func (p *predecessor) pidFile() *os.File {
	if fd, ok := p.inheritance.Files[pidFileName]; ok {
		return os.NewFile(uintptr(fd), pidFileName)
	}
	return nil
}

// The names of descriptors in OFFER: of the pid file, of the connection between the caches, and of the texts that the
// new process serves instead of the files.
const (
	pidFileName       = "pid_file"
	cacheName         = "cache"
	configurationName = "configuration"
)

// refuse tells the process before why this one cannot take over; nil: it has.
func (p *predecessor) refuse(err error) {
	if p != nil && err != nil {
		p.side.Refuse(err)
	}
}

// draining returns how many processes of earlier upgrades drain.
func (p *predecessor) draining() int {
	if p == nil {
		return 0
	}
	select {
	case <-p.side.Done():
		return 0
	default:
		return 1 + p.side.Left().Before
	}
}

// tellPassed says whether a further process has taken over from this one.
func (p *predecessor) tellPassed(passed bool) {
	if p != nil {
		p.side.Tell(upgrade.Pass, upgrade.PassBody{Passed: passed})
	}
}

// connections returns how many the process before has left, as it last said.
func (p *predecessor) connections() (open int) {
	if p == nil {
		return 0
	}
	for _, kind := range p.side.Left().Left {
		open += kind
	}
	return open
}

const (
	oldestEndTime  = 5 * time.Second
	oldestEndPause = 20 * time.Millisecond
)

var errOldestDrains = fmt.Errorf("the oldest of the processes that drain was asked to end, and drains still after %v: "+
	"end it by SIGINT", oldestEndTime)

// endOldestDraining ends the oldest of drainingMax processes that drain, and waits until it has ended.
func (p *predecessor) endOldestDraining(ctx context.Context) error {
	slog.Warn("ending the oldest process that drains, for an upgrade")
	p.side.Tell(upgrade.Cut, upgrade.CutBody{Before: p.draining() - 1})
	limited, done := context.WithTimeoutCause(ctx, oldestEndTime, errOldestDrains)
	defer done()
	for p.draining() >= drainingMax {
		select {
		case <-limited.Done():
			return context.Cause(limited)
		case <-time.After(oldestEndPause):
		}
	}
	return nil
}

// wait waits for the end of the process before, at most for limit, or until stop is closed. A supervisor such as
// systemd ends it together with this one.
func (p *predecessor) wait(limit time.Duration, stop <-chan struct{}) {
	if p.draining() == 0 {
		return
	}
	slog.Info("waiting for the process before, which drains", "left", p.side.Left().Left)
	select {
	case <-p.side.Done():
	case <-stop:
	case <-time.After(limit):
	}
}

// logEnd logs how the process before ends.
func (p *predecessor) logEnd() {
	<-p.side.Done()
	if err := p.side.End(); err != nil {
		slog.Warn("upgrade: " + err.Error())
		return
	}
	slog.Info("upgrade complete: the process before has drained")
}
