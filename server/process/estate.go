package process

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process/handover"
	"github.com/edge-proxy/edge/server/process/upgrade"
)

// selfCheckMax bounds the self-check of all listeners.
const selfCheckMax = 30 * time.Second

// socketsOf returns what the Server listens on as the protocol describes it, with copies of the descriptors.
func socketsOf(h *server.Handover) (all []upgrade.Socket, fds []int, err error) {
	list, err := h.Sockets()
	if err != nil {
		return nil, nil, err
	}
	for _, s := range list {
		network := "tcp"
		if strings.HasPrefix(s.Address, "unix:") {
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

// adoptable returns the sockets of an inheritance for server.Options.Adopt.
func adoptable(legacy *handover.Inheritance) (all []server.Socket) {
	for i, fd := range legacy.Sockets {
		s := &legacy.Manifest.Sockets[i]
		all = append(all, server.Socket{
			Address: s.Address, V6Only: s.V6Only, Index: s.Index, Purpose: s.Purpose, Listener: s.Name,
			AnyPort: s.AnyPort, Held: s.Held, File: server.FileID{Dev: s.Dev, Ino: s.Ino}, FD: fd,
		})
	}
	return all
}

// claimsOf returns the numbers of the sockets that the Server listens on, and closes the others: these stay with the
// process before, which closes them as a reload does. Those of a supervisor stay open: a reload may name their
// addresses.
func claimsOf(h *server.Handover, legacy *handover.Inheritance) []int {
	claims := []int{}
	for i, claimed := range h.Claims() {
		if claimed {
			claims = append(claims, i)
		} else if !legacy.Manifest.Sockets[i].Held {
			handover.CloseAll(legacy.Sockets[i : i+1])
		}
	}
	return claims
}

// selfCheck asks each listener whether it serves.
func selfCheck(h *server.Handover) error {
	ctx, cancel := context.WithTimeout(context.Background(), selfCheckMax)
	defer cancel()
	return h.SelfCheck(ctx)
}

func givenOf(conns []handover.Conn) []server.Given {
	given := make([]server.Given, len(conns))
	for i, c := range conns {
		given[i] = server.Given{FD: c.FD, Socket: c.Socket, Requests: c.Requests, Idle: c.Age}
	}
	return given
}

func connsOf(given []server.Given) []handover.Conn {
	conns := make([]handover.Conn, len(given))
	for i, g := range given {
		conns[i] = handover.Conn{FD: g.FD, Socket: g.Socket, Requests: g.Requests, Age: g.Idle}
	}
	return conns
}

// takeBack has the Server serve connections that it gave away.
func takeBack(h *server.Handover, conns []handover.Conn) {
	if lost := len(conns) - h.TakeBack(givenOf(conns)); lost > 0 {
		slog.Warn("connections closed, since their address is served no more", "connections", lost)
	}
}

// wrapped adds what the error is about; nil stays nil.
func wrapped(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
