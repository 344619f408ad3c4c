package server

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
)

// vacancyWait is how long a start waits for an address: a process that ends keeps its addresses for a moment, see
// engine.Listener.Close.
const (
	vacancyWait  = 2 * time.Second
	vacancyPause = 20 * time.Millisecond
	regainWait   = 200 * time.Millisecond // for a process that was killed: all of its sockets close in that moment
)

// awaitVacancy opens an address, once no other process has it, and tries for a time at most.
func awaitVacancy(wait time.Duration, listen func() (*engine.Listener, error)) (*engine.Listener, error) {
	begun := time.Now()
	for {
		open, err := listen()
		if !errors.Is(err, unix.EADDRINUSE) || time.Since(begun) >= wait {
			return open, err
		}
		time.Sleep(vacancyPause)
	}
}
