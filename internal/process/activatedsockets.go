package process

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process/supervisor"
	"github.com/edge-proxy/edge/internal/server"
)

// activatedSockets are listening sockets that the supervisor of the process has opened for it (socket activation).
// Owned by the goroutine of Run.
//
//	systemd ── descriptors, LISTEN_… ─► takeActivatedSockets ─► server.Options.Adopt ─► Listen, warnUnclaimed
type activatedSockets struct {
	sockets []server.Socket
	ignored error // why the variables of a supervisor are ignored; nil: they are not
}

var (
	errActivatedDaemon = errors.New("daemon = true, or -d, and sockets of a supervisor do not go together: the " +
		"process that the supervisor has started would end, and the sockets with it. Leave daemon out: the " +
		"supervisor keeps the process in the background")
	errActivatedTwice = errors.New("--upgrade takes the sockets of the running process, and the supervisor hands " +
		"on others: leave one of them out. edge upgrade takes sockets of the supervisor along")
)

// takeActivatedSockets takes over what the environment says that the supervisor has opened. It is called after
// enterFIPS, which may begin the process again, and before the process starts another one.
func takeActivatedSockets(g *config.Global, upgrades bool) (*activatedSockets, error) {
	list, err := supervisor.TakeDescriptors()
	if errors.Is(err, supervisor.ErrOtherProcess) {
		return &activatedSockets{ignored: err}, nil
	}
	s := &activatedSockets{}
	switch {
	case err != nil:
		return nil, fmt.Errorf("sockets of the supervisor: %w", err)
	case len(list) > 0 && g.Daemon:
		return nil, errActivatedDaemon
	case len(list) > 0 && upgrades:
		return nil, errActivatedTwice
	}
	for _, d := range list {
		socket, err := server.SocketOf(d.FD)
		if err != nil {
			return nil, fmt.Errorf("sockets of the supervisor: %q: %w", d.Name, err)
		}
		socket.Listener = d.Name
		s.sockets = append(s.sockets, socket)
	}
	return s, nil
}

// addTo makes a Server take the sockets over.
func (s *activatedSockets) addTo(o *server.Options) {
	if s.ignored != nil {
		slog.Warn("sockets of a supervisor are ignored", "reason", s.ignored,
			"try", "start edge itself and not by a shell, or exec edge in the shell")
	}
	o.Adopt = append(o.Adopt, s.sockets...)
}

func warnUnclaimed(s *server.Server) {
	for _, one := range s.Handover().Unclaimed() {
		slog.Warn("a socket of the supervisor has no listener: clients connect to it and wait", "address", one.Address,
			"name", one.Name, "try", one.Try)
	}
}
