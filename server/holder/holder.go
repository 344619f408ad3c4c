package holder

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Bounds of the search for the process that has an address.
const (
	searchTime = 3 * time.Second
	tableMax   = 8 << 20 // bytes of a table of sockets that are searched
)

// Errors of Of.
var (
	ErrNone   = errors.New("no socket listens on that address now")
	ErrHidden = errors.New("no process of this user listens there, so it is another user's")
)

// Process is a process that listens on an address.
type Process struct {
	PID  int
	Name string // as ps shows it
}

// Of finds a process that listens on an address, in the folder proc, which is /proc. Only root sees whose the sockets
// of other users are: ErrHidden.
func Of(proc string, a poller.Addr) (Process, error) {
	found, sockets := search(proc, a, 1)
	switch {
	case sockets == 0:
		return Process{}, ErrNone
	case len(found) == 0:
		return Process{}, ErrHidden
	}
	return found[0], nil
}

// All finds all processes that listen on an address, and reports whether there are sockets of processes that this user
// does not see.
func All(proc string, a poller.Addr) (found []Process, hidden bool) {
	found, sockets := search(proc, a, math.MaxInt)
	return found, sockets > 0 && len(found) == 0
}

// search finds up to most processes, and how many sockets listen.
func search(proc string, a poller.Addr, most int) (found []Process, sockets int) {
	inodes := listeningInodes(proc, a)
	if len(inodes) == 0 {
		return nil, 0
	}
	begun := time.Now()
	processes, _ := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	for _, dir := range processes {
		if holds(dir, inodes) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			name, _ := os.ReadFile(filepath.Join(dir, "comm"))
			found = append(found, Process{pid, strings.TrimSpace(string(name))})
		}
		if len(found) == most || time.Since(begun) > searchTime {
			break
		}
	}
	return found, len(inodes)
}

// holds reports whether the process of a folder of /proc has one of these sockets.
func holds(dir string, inodes []string) bool {
	fds, _ := os.ReadDir(filepath.Join(dir, "fd"))
	for _, fd := range fds {
		to, _ := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		inode, isSocket := strings.CutPrefix(to, "socket:[")
		if isSocket && slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
			return true
		}
	}
	return false
}

// listeningInodes returns the inodes of sockets that listen on an address, or on one that overlaps it.
func listeningInodes(proc string, a poller.Addr) (inodes []string) {
	if a.IsUnix() {
		for _, f := range socketTable(filepath.Join(proc, "net", "unix")) {
			if len(f) == 8 && f[7] == a.Path { // Num RefCount Protocol Flags Type St Inode Path
				inodes = append(inodes, f[6])
			}
		}
		return inodes
	}
	const listens = "0A"
	for _, table := range []string{"tcp", "tcp6"} {
		for _, f := range socketTable(filepath.Join(proc, "net", table)) {
			if len(f) < 10 || f[3] != listens { // sl local remote st queues tr retrnsmt uid timeout inode
				continue
			}
			if b, ok := socketAddr(f[1]); ok && b.Port() == a.IP.Port() && overlap(a.IP.Addr(), b.Addr()) {
				inodes = append(inodes, f[9])
			}
		}
	}
	return inodes
}

// socketTable returns the fields of the lines of a table below /proc/net, without its head; none where it cannot be
// read. Of a table larger than tableMax it has what comes first: of TCP that is the sockets that listen.
func socketTable(path string) (lines [][]string) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(f, tableMax))
	if err != nil {
		return nil
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.Fields(line))
	}
	return lines[min(1, len(lines)):]
}

// socketAddr reads an address of /proc/net/tcp: words of 32 bits in the order of the machine, which is little-endian on
// all that edge runs on, and the port.
func socketAddr(text string) (netip.AddrPort, bool) {
	ip, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(ip)
	n, failed := strconv.ParseUint(port, 16, 16)
	if err != nil || failed != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok
}

// overlap reports whether two sockets with one port may want the same connections.
func overlap(a, b netip.Addr) bool {
	return a.IsUnspecified() || b.IsUnspecified() || a.Unmap().WithZone("") == b.Unmap().WithZone("")
}
