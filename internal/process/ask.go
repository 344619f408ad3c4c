package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/process/handover"
	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/server/admin"
)

var errNoAnswer = errors.New("the process has ended before it answered: its error log says why")

// Upgrade asks the process that listens at socket, its upgrade_sock, to hand over as ask says. progress gets each step.
// The process may be another user's: its texts are printable. It returns the id of the process that serves then; the
// error says why the old one serves on, or cannot be asked.
func Upgrade(socket string, ask *admin.Upgrade, progress func(step string)) (pid int, err error) {
	c, p, err := handover.DialToAsk(socket)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, fmt.Errorf("no edge runs that can be upgraded: there is no %s", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return 0, fmt.Errorf("no edge runs: %s was left by a process that has ended without removing it", socket)
	case errors.Is(err, os.ErrPermission):
		return 0, fmt.Errorf("%w: only root and the user that edge runs as may upgrade it", err)
	case err != nil:
		return 0, err
	}
	defer c.Close()
	defer p.Close()
	asks := upgrade.Frame{Version: upgrade.VersionMin, Type: upgrade.Ask, Body: upgrade.AskBody(*ask)}
	if err := c.Send(&asks, nil); err != nil {
		return 0, err
	}
	for {
		message, fds, err := c.Receive(time.Time{})
		handover.CloseAll(fds)
		if err != nil {
			return 0, errNoAnswer
		}
		f, err := upgrade.Parse(message)
		if err != nil {
			return 0, err
		}
		switch b := f.Body.(type) {
		case upgrade.WorkingBody:
			progress(printable.Word(b.Step))
		case upgrade.ServingBody:
			return b.PID, nil
		case upgrade.RefuseBody:
			return 0, errors.New(printable.Text(b.Reason))
		}
	}
}
