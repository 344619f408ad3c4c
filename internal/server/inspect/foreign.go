package inspect

import (
	"os"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/server/holder"
)

// foreignFor is how long an answer about sockets of others holds: a search reads files of all processes.
const foreignFor = 5 * time.Second

// foreign is what a search for sockets of others has found.
// Safe for any goroutine.
type foreign struct {
	mu    sync.Mutex // held during a search
	found []admin.ForeignSocket
	until time.Time
}

// Foreign returns the sockets of other processes that get connections to the addresses of s, as they were at most 5 s
// ago. It asks no reactor.
func (v *Inspector) Foreign() []admin.ForeignSocket {
	f := &v.foreign
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.After(f.until) {
		f.found = v.searchForeign()
		f.until = time.Now().Add(foreignFor)
	}
	return f.found
}

// searchForeign looks at the sockets of the machine. v.foreign.mu is held.
func (v *Inspector) searchForeign() []admin.ForeignSocket {
	var own []holder.Own
	for _, l := range v.server.Parts().Listeners {
		if a := l.Open.Addr(); !a.IsUnix() {
			own = append(own, holder.Own{At: a.IP, V6Only: l.V6Only, Sockets: l.Open.Sockets()})
		}
	}
	all := []admin.ForeignSocket{}
	for _, o := range holder.Others("/proc", os.Getpid(), own) {
		all = append(all, admin.ForeignSocket{Address: o.At.String(), PID: o.PID, Name: o.Name, Stopped: o.Stopped})
	}
	return all
}
