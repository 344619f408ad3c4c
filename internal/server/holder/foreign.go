package holder

import (
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// Own is an address that a process listens on, and how many sockets it has there.
type Own struct {
	At      netip.AddrPort
	V6Only  bool
	Sockets int
}

// Foreign is a socket of another process that gets connections to an address of this one.
type Foreign struct {
	At      netip.AddrPort
	Process // PID 0: this user does not see whose it is
}

// Others returns which other processes have sockets that get connections to addresses of the process own, one entry for
// each process and address. Usually there is none, and then the tables of sockets are all that is read: the descriptors
// of processes are looked at only when more sockets listen than the process has.
//
// Sockets that the process has open are its own, whichever other processes have them as well: its supervisor, or a
// process from before an upgrade that still drains.
func Others(proc string, own int, addresses []Own) []Foreign {
	rest, expected := map[string]netip.AddrPort{}, 0
	for _, s := range listening(proc) {
		if slices.ContainsFunc(addresses, func(o Own) bool { return o.isReachedBy(s.at) }) {
			rest[s.inode] = s.at
		}
	}
	for _, o := range addresses {
		expected += o.Sockets
	}
	if len(rest) <= expected {
		return nil
	}
	openSockets(processDir(proc, own), func(inode string) { delete(rest, inode) })
	return holdersOf(proc, rest)
}

// isReachedBy reports whether a socket at an address gets connections to o: that is the address of o, or one of those
// that o stands for.
func (o *Own) isReachedBy(at netip.AddrPort) bool {
	a, b := o.At.Addr().Unmap().WithZone(""), at.Addr().WithZone("")
	if o.At.Port() != at.Port() {
		return false
	}
	return a == b || a.IsUnspecified() && (a.Is4() == b.Is4() || a.Is6() && !o.V6Only)
}

// holdersOf returns which processes have sockets open, which are given by their inodes.
func holdersOf(proc string, rest map[string]netip.AddrPort) (all []Foreign) {
	begun := time.Now()
	processes, _ := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	seen := map[string]bool{}
	for _, dir := range processes {
		var at []netip.AddrPort
		openSockets(dir, func(inode string) {
			if address, found := rest[inode]; found {
				seen[inode] = true
				if !slices.Contains(at, address) {
					at = append(at, address)
				}
			}
		})
		for _, address := range at {
			all = append(all, Foreign{address, processOf(dir)})
		}
		if time.Since(begun) > searchTime {
			break
		}
	}
	for inode, address := range rest {
		hidden := Foreign{At: address}
		if !seen[inode] && !slices.Contains(all, hidden) {
			all = append(all, hidden)
		}
	}
	slices.SortFunc(all, func(a, b Foreign) int {
		if a.PID != b.PID {
			return a.PID - b.PID
		}
		return a.At.Compare(b.At)
	})
	return all
}
