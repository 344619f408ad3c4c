package process

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/edge-proxy/edge/server/process/handover"
	"github.com/edge-proxy/edge/server/process/upgrade"
)

// doorway is the socket at upgrade_sock, where new processes and edge upgrade find this one. Safe for any goroutine.
type doorway struct {
	path     string // as the configuration has it; "": there is none
	upgrades *upgrades

	mu   sync.Mutex
	open *handover.Doorway // nil: closed; guarded by mu
}

const (
	doorwayTime  = 5 * time.Second        // for the first message
	doorwayMax   = 4                      // connections at once
	doorwayPause = 100 * time.Millisecond // after an error
)

// listen opens the socket; with replace in the place of another process's.
func (d *doorway) listen(replace bool) error {
	if d.path == "" {
		return nil
	}
	open, err := handover.OpenDoorway(d.path, replace)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.open = open
	d.mu.Unlock()
	go d.serve(open)
	return nil
}

// restore opens the socket again unless it is in its place.
func (d *doorway) restore() error {
	d.mu.Lock()
	there := d.open != nil && d.open.InPlace()
	d.mu.Unlock()
	if there {
		return nil
	}
	d.close()
	return d.listen(true)
}

// close closes the socket, and removes its file unless it is another process's.
func (d *doorway) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open.Close()
	d.open = nil
}

// serve answers until open is closed.
func (d *doorway) serve(open *handover.Doorway) {
	places := make(chan struct{}, doorwayMax)
	for {
		c, p, err := open.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			slog.Warn("upgrade_sock: a process was turned away", "error", err)
			time.Sleep(doorwayPause) // there may be no descriptor for it
			continue
		}
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			d.answer(c, p)
		}()
	}
}

// answer hands over to a process that says HELLO, and starts one for a command that says ASK.
func (d *doorway) answer(c *handover.Channel, p *handover.Peer) {
	defer p.Close()
	first, fds, err := c.Receive(time.Now().Add(doorwayTime))
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
		d.upgrades.accept(c, p, first)
	case upgrade.AskBody:
		d.ask(c, p, b)
	default:
		c.Close()
	}
}

var errRelative = errors.New("the path of the program is not absolute")

// ask starts the program that b names, and tells the command of the progress.
func (d *doorway) ask(c *handover.Channel, p *handover.Peer, b upgrade.AskBody) {
	defer c.Close()
	slog.Info("upgrade asked for", "pid", p.PID, "user", p.UID)
	over := make(chan struct{}) // closed when the command knows how it went, or has gone
	end := sync.OnceFunc(func() { close(over) })
	// It is sent before the upgrade goes on: a process without connections ends at once when the new one serves.
	err := d.upgrades.begin(b, func(f upgrade.Frame) {
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
