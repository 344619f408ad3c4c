package process

import (
	"os"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/process/handover"
	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/proxy/cache"
)

// inheritance is the list of what this process hands over to a new one: sockets, keys, the pid file. Owned by its
// attempt.
type inheritance struct {
	offer         upgrade.OfferBody
	manifest      *os.File
	secrets       *os.File
	configuration *os.File     // what the new process serves instead of the files; nil: it takes those
	pid           *os.File     // the pid file, which stays with this process; nil: there is none
	cache         *cache.Offer // nil: there is none
	sockets       []int        // copies
	timeout       time.Duration
	grace         time.Duration
	server        *server.Server
	holdNames     func(hold bool) // takes the names back, or gives them up
}

// keepsConfiguration says what the new process does with inheritance.configuration.
const keepsConfiguration = "goes on with the configuration that runs"

func (i *inheritance) files() []int {
	fds := []int{int(i.manifest.Fd()), int(i.secrets.Fd())}
	if i.pid != nil {
		fds = append(fds, int(i.pid.Fd()))
	}
	if i.cache != nil {
		fds = append(fds, int(i.cache.Theirs.Fd()))
	}
	if i.configuration != nil {
		fds = append(fds, int(i.configuration.Fd()))
	}
	return fds
}

func (i *inheritance) close() {
	_ = i.manifest.Close()
	_ = i.secrets.Close()
	_ = i.configuration.Close()
	i.closeCopies()
	if i.cache != nil {
		i.cache.Close()
	}
}

// closeCopies closes what the new process has: copies of sockets, and its end of the connection of the caches.
func (i *inheritance) closeCopies() {
	handover.CloseAll(i.sockets)
	i.sockets = nil
	if i.cache != nil {
		i.cache.CloseTheirs()
	}
}

// socketsToPass returns what the Server listens on as the protocol describes it, with copies of the descriptors.
func socketsToPass(h *server.Handover) (all []upgrade.Socket, fds []int, err error) {
	list, err := h.Sockets()
	if err != nil {
		return nil, nil, err
	}
	for _, s := range list {
		network := "tcp"
		switch {
		case s.Purpose == server.PurposeQUIC:
			network = "udp"
		case s.Purpose == server.PurposeLink || strings.HasPrefix(s.Address, "unix:"):
			network = "unix"
		}
		all = append(all, upgrade.Socket{
			Network: network, Address: s.Address, V6Only: s.V6Only, Index: s.Index, Purpose: s.Purpose,
			Name: s.Listener, AnyPort: s.AnyPort, Held: s.Held, Dev: s.File.Dev, Ino: s.File.Ino,
		})
		fds = append(fds, s.FD)
	}
	return all, fds, nil
}

// socketsToAdopt returns the sockets of an inheritance for server.Options.Adopt.
func socketsToAdopt(inherited *handover.Inheritance) (all []server.Socket) {
	for i, fd := range inherited.Sockets {
		s := &inherited.Manifest.Sockets[i]
		all = append(all, server.Socket{
			Address: s.Address, V6Only: s.V6Only, Index: s.Index, Purpose: s.Purpose, Listener: s.Name,
			AnyPort: s.AnyPort, Held: s.Held, File: server.FileID{Dev: s.Dev, Ino: s.Ino}, FD: fd,
		})
	}
	return all
}

// claimSockets returns the numbers of the sockets that the Server listens on, and closes the others: these stay with
// the process before, which closes them as a reload does. The sockets of a supervisor stay open: a reload may name
// their addresses.
func claimSockets(h *server.Handover, inherited *handover.Inheritance) []int {
	claims := []int{}
	for i, claimed := range h.Claims() {
		if claimed {
			claims = append(claims, i)
		} else if !inherited.Manifest.Sockets[i].Held {
			handover.CloseAll(inherited.Sockets[i : i+1])
		}
	}
	return claims
}
