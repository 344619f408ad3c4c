package process

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/process/handover"
	"github.com/edge-proxy/edge/internal/process/upgrade"
)

// upgradeSocket is the socket at upgrade_sock, where new processes and edge upgrade find this one. Safe for any
// goroutine.
type upgradeSocket struct {
	path     string // as the configuration has it; "": there is none
	upgrades *upgrades

	mu        sync.Mutex
	listening *handover.UpgradeSocket // nil: closed; guarded by mu
}

const (
	firstMessageTime      = 5 * time.Second        // for the first message
	upgradeSocketConnsMax = 4                      // connections at once
	acceptErrorPause      = 100 * time.Millisecond // after an error
)

// listen opens the socket; with replace in the place of another process's.
func (s *upgradeSocket) listen(replace bool) error {
	if s.path == "" {
		return nil
	}
	open, err := handover.ListenForUpgrades(s.path, replace)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.listening = open
	s.mu.Unlock()
	go s.serve(open)
	return nil
}

// restore opens the socket again unless it is in its place.
func (s *upgradeSocket) restore() error {
	s.mu.Lock()
	there := s.listening != nil && s.listening.InPlace()
	s.mu.Unlock()
	if there {
		return nil
	}
	s.close()
	return s.listen(true)
}

// close closes the socket, and removes its file unless it is another process's.
func (s *upgradeSocket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listening.Close()
	s.listening = nil
}

// serve answers until open is closed.
func (s *upgradeSocket) serve(open *handover.UpgradeSocket) {
	places := make(chan struct{}, upgradeSocketConnsMax)
	for {
		c, p, err := open.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			slog.Warn("upgrade_sock: a process was turned away", "error", err)
			time.Sleep(acceptErrorPause) // there may be no descriptor for it
			continue
		}
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			s.answer(c, p)
		}()
	}
}

// answer hands over to a process that says HELLO, and starts one for a command that says ASK.
func (s *upgradeSocket) answer(c *handover.Channel, p *handover.Peer) {
	defer p.Close()
	first, fds, err := c.Receive(time.Now().Add(firstMessageTime))
	handover.CloseAll(fds)
	if err != nil {
		c.Close()
		return
	}
	first = append([]byte(nil), first...)
	f, err := upgrade.Parse(first)
	if err != nil {
		slog.Warn("upgrade_sock: a process sent something else than a frame", "pid", p.PID, "error", err)
		c.Close()
		return
	}
	switch b := f.Body.(type) {
	case upgrade.HelloBody:
		s.upgrades.handOverTo(c, p, first)
	case upgrade.AskBody:
		s.startUpgrade(c, p, b)
	default:
		c.Close()
	}
}

var errRelative = errors.New("the path of the program is not absolute")

// startUpgrade starts the program that b names, and tells the command of the progress.
func (s *upgradeSocket) startUpgrade(c *handover.Channel, p *handover.Peer, b upgrade.AskBody) {
	defer c.Close()
	slog.Info("upgrade asked for", "pid", p.PID, "user", p.UID)
	over := make(chan struct{}) // closed when the command knows how it went, or has gone
	end := sync.OnceFunc(func() { close(over) })
	// It is sent before the upgrade goes on: a process without connections ends at once when the new one serves.
	err := s.upgrades.begin(b, func(f upgrade.Frame) {
		select {
		case <-over:
		default:
			if c.Send(&f, nil) != nil || f.Type != upgrade.Working {
				end()
			}
		}
	})
	if err != nil {
		_ = c.Send(&upgrade.Frame{Version: upgrade.VersionMin, Type: upgrade.Refuse,
			Body: upgrade.RefuseBody{Reason: err.Error()}}, nil)
		return
	}
	<-over
}
