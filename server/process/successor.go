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

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process/handover"
	"github.com/edge-proxy/edge/server/process/pidfile"
	"github.com/edge-proxy/edge/server/process/upgrade"
)

// successor is this process while and after it takes over from another one. nil: it does not. Safe for any goroutine
// once it was made.
//
//	takeOver ─► server.New, Listen: sockets are adopted ─► user ─► Start ─► ready ─► GO ─► accept, names ─► BYE
//	               └────────────────────── an error: refuse ──────────────────┘
type successor struct {
	side        *handover.NewSide
	inheritance *handover.Inheritance
	pid         int // of the process before; 0: it is not known
}

var (
	errNoChannel = errors.New(upgradeVariable + " is set, but is no channel to a running process: only edge sets it")
	errNobody    = errors.New("--upgrade takes over from a running process, and none listens: start edge without it")
	errNoSocket  = errors.New("--upgrade needs upgrade_sock in the configuration, where the running process listens")
)

// succeeds reports whether the running process has started this one, to take over from it.
func succeeds() bool { return os.Getenv(upgradeVariable) != "" }

// takeOver begins to take over from the process that has started this one or, with ask, from the one at upgrade_sock.
// It returns nil where neither is to be, and takes the pid file then; otherwise that comes later.
func takeOver(cfg *config.Config, ask bool, p *program) (*successor, *pidfile.File, error) {
	c, err := channelBefore(cfg, ask)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		pid, err := pidfile.Take(cfg.Global.PIDFile)
		return nil, pid, err
	}
	before := c.PID()
	side := handover.Join(c, upgrade.HelloBody{
		Build: p.build(), PID: os.Getpid(), Free: freeDescriptors(),
		Reactors: cmp.Or(cfg.Global.WorkerThreads, runtime.GOMAXPROCS(0)),
	}, upgrade.Times{})
	inherited, err := side.Inherit()
	if err != nil {
		return nil, nil, fmt.Errorf("upgrade: %w", err)
	}
	side.Step("loading the configuration")
	return &successor{side, inherited, before}, pidfile.Inherited(cfg.Global.PIDFile), nil
}

// channelBefore returns the channel to the process before; nil: there is none to be.
func channelBefore(cfg *config.Config, ask bool) (*handover.Channel, error) {
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
		return nil, fmt.Errorf("%w: %w", errNobody, err)
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
func (n *successor) ticketKeys() (keys [][32]byte) {
	if n == nil {
		return nil
	}
	for _, k := range n.inheritance.Secrets.TicketKeys {
		if len(k) == 32 {
			keys = append(keys, [32]byte(k))
		}
	}
	return keys
}

// inherit has a Server take over sockets and keys; where there is no process before, sockets of a supervisor.
func (n *successor) inherit(o *server.Options, given *supplied) {
	if n == nil {
		given.give(o)
		return
	}
	o.TicketKeys = n.ticketKeys()
	o.Adopt, o.Suspended = socketsToAdopt(n.inheritance), true
}

// pidFile returns the pid file of the process before; nil: it sent none.
func (n *successor) pidFile() *os.File {
	if fd, ok := n.inheritance.Files[pidFileName]; ok {
		return os.NewFile(uintptr(fd), pidFileName)
	}
	return nil
}

// pidFileName is the name of the descriptor of the pid file in OFFER.
const pidFileName = "pid_file"

// refuse tells the process before why this one cannot take over; nil: it has.
func (n *successor) refuse(err error) {
	if n != nil && err != nil {
		n.side.Refuse(err)
	}
}

// draining returns how many processes of earlier upgrades drain.
func (n *successor) draining() int {
	if n == nil {
		return 0
	}
	select {
	case <-n.side.Done():
		return 0
	default:
		return 1 + n.side.Left().Before
	}
}

// passed says whether a further process has taken over from this one.
func (n *successor) passed(passed bool) {
	if n != nil {
		n.side.Passed(passed)
	}
}

// connections returns how many the process before has left, as it last said.
func (n *successor) connections() (open int) {
	if n == nil {
		return 0
	}
	for _, kind := range n.side.Left().Left {
		open += kind
	}
	return open
}

const (
	roomTime  = 5 * time.Second
	roomPause = 20 * time.Millisecond
)

var errNoRoom = fmt.Errorf("the oldest of the processes that drain was asked to end, and drains still after %v: "+
	"end it by SIGINT", roomTime)

// makeRoom ends the oldest of drainingMax processes that drain, and waits for its end.
func (n *successor) makeRoom(ctx context.Context) error {
	slog.Warn("ending the oldest process that drains, for an upgrade")
	n.side.Cut(n.draining() - 1)
	limited, done := context.WithTimeoutCause(ctx, roomTime, errNoRoom)
	defer done()
	for n.draining() >= drainingMax {
		select {
		case <-limited.Done():
			return context.Cause(limited)
		case <-time.After(roomPause):
		}
	}
	return nil
}

// wait waits for the end of the process before, at most for limit, or until stop is closed. A supervisor such as
// systemd ends it together with this one.
func (n *successor) wait(limit time.Duration, stop <-chan struct{}) {
	if n.draining() == 0 {
		return
	}
	slog.Info("waiting for the process before, which drains", "left", n.side.Left().Left)
	select {
	case <-n.side.Done():
	case <-stop:
	case <-time.After(limit):
	}
}

// tellEnd logs how the process before ends.
func (n *successor) tellEnd() {
	<-n.side.Done()
	if err := n.side.End(); err != nil {
		slog.Warn("upgrade: " + err.Error())
		return
	}
	slog.Info("upgrade complete: the process before has drained")
}
