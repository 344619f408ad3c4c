package holder

import (
	"bufio"
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
	PID     int
	Name    string // as ps shows it
	Stopped bool   // by a signal or a debugger: what connects to its sockets waits
}

// Of finds a process that listens on an address, in the folder proc, which is /proc. Only root sees whose the sockets
// of other users are: ErrHidden. udp asks for UDP in place of TCP.
func Of(proc string, a poller.Addr, udp bool) (Process, error) {
	found, sockets := search(proc, listeningInodes(proc, a, udp), 1)
	switch {
	case sockets == 0:
		return Process{}, ErrNone
	case len(found) == 0:
		return Process{}, ErrHidden
	}
	return found[0], nil
}

// All finds all processes that listen on an address, and reports whether there are sockets of processes that this user
// does not see. It leaves out sockets that the process own has open too: its supervisor may have copies of them, and so
// may a process from before an upgrade. own = 0: nothing is left out.
func All(proc string, a poller.Addr, own int) (found []Process, hidden bool) {
	inodes := listeningInodes(proc, a, false)
	if own != 0 && len(inodes) > 0 {
		has := map[string]bool{}
		openSockets(processDir(proc, own), func(inode string) { has[inode] = true })
		inodes = slices.DeleteFunc(inodes, func(inode string) bool { return has[inode] })
	}
	found, sockets := search(proc, inodes, math.MaxInt)
	return found, sockets > 0 && len(found) == 0
}

// search finds up to most processes that have sockets open, and returns how many sockets these are.
func search(proc string, inodes []string, most int) (found []Process, sockets int) {
	if len(inodes) == 0 {
		return nil, 0
	}
	begun := time.Now()
	processes, _ := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	for _, dir := range processes {
		if holds(dir, inodes) {
			found = append(found, processOf(dir))
		}
		if len(found) == most || time.Since(begun) > searchTime {
			break
		}
	}
	return found, len(inodes)
}

func processDir(proc string, pid int) string { return filepath.Join(proc, strconv.Itoa(pid)) }

func processOf(dir string) Process {
	pid, _ := strconv.Atoi(filepath.Base(dir))
	name, _ := os.ReadFile(filepath.Join(dir, "comm"))
	status, _ := os.ReadFile(filepath.Join(dir, "status"))
	state := bytes.ToUpper(bytes.TrimSpace(line(status, "State:")))
	return Process{pid, strings.TrimSpace(string(name)), bytes.HasPrefix(state, []byte("T"))}
}

// line returns the rest of the line that begins with a name.
func line(text []byte, name string) []byte {
	for l := range bytes.Lines(text) {
		if rest, found := bytes.CutPrefix(l, []byte(name)); found {
			return rest
		}
	}
	return nil
}

// holds reports whether the process of a folder of /proc has one of these sockets.
func holds(dir string, inodes []string) (found bool) {
	openSockets(dir, func(inode string) { found = found || slices.Contains(inodes, inode) })
	return found
}

// openSockets calls f for each socket that the process of a folder of /proc has open.
func openSockets(dir string, f func(inode string)) {
	fds, _ := os.ReadDir(filepath.Join(dir, "fd"))
	for _, fd := range fds {
		to, _ := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		if inode, isSocket := strings.CutPrefix(to, "socket:["); isSocket {
			f(strings.TrimSuffix(inode, "]"))
		}
	}
}

// listeningInodes returns the inodes of sockets that listen on an address, or on an overlapping address.
func listeningInodes(proc string, a poller.Addr, udp bool) (inodes []string) {
	if a.IsUnix() {
		for _, f := range socketTable(filepath.Join(proc, "net", "unix")) {
			if len(f) == 8 && f[7] == a.Path { // Num RefCount Protocol Flags Type St Inode Path
				inodes = append(inodes, f[6])
			}
		}
		return inodes
	}
	of := listening
	if udp {
		of = datagramSockets
	}
	for _, s := range of(proc) {
		if s.at.Port() == a.IP.Port() && overlap(a.IP.Addr(), s.at.Addr()) {
			inodes = append(inodes, s.inode)
		}
	}
	return inodes
}

// socket is one of TCP that listens.
type socket struct {
	at    netip.AddrPort
	inode string
}

// listening returns the sockets of TCP that listen. The kernel has them at the beginning of its tables, so no more is
// read: tens of thousands of connections may follow.
func listening(proc string) (all []socket) {
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(filepath.Join(proc, "net", table))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(io.LimitReader(f, tableMax))
		for lines.Scan() {
			f := strings.Fields(lines.Text()) // sl local remote st queues tr retrnsmt uid timeout inode
			if len(f) < 10 || f[0] == "sl" {
				continue
			}
			if f[3] != "0A" {
				break
			}
			if at, ok := socketAddr(f[1]); ok {
				all = append(all, socket{at, f[9]})
			}
		}
		f.Close() //nolint:errcheck // it was only read
	}
	return all
}

// datagramSockets returns the sockets of UDP.
func datagramSockets(proc string) (all []socket) {
	for _, table := range []string{"udp", "udp6"} {
		for _, f := range socketTable(filepath.Join(proc, "net", table)) {
			if len(f) < 10 {
				continue
			}
			if at, ok := socketAddr(f[1]); ok {
				all = append(all, socket{at, f[9]})
			}
		}
	}
	return all
}

// Peers counts the connections that other machines have made to ports of this one, by port and by their addresses.
func Peers(proc string) map[uint16]map[netip.Addr]int {
	ports := map[uint16]map[netip.Addr]int{}
	for _, table := range []string{"tcp", "tcp6"} {
		for _, f := range socketTable(filepath.Join(proc, "net", table)) {
			if len(f) < 10 || f[3] != "01" { // ESTABLISHED
				continue
			}
			local, ok := socketAddr(f[1])
			remote, known := socketAddr(f[2])
			if !ok || !known || remote.Addr().IsLoopback() {
				continue
			}
			if ports[local.Port()] == nil {
				ports[local.Port()] = map[netip.Addr]int{}
			}
			ports[local.Port()][remote.Addr()]++
		}
	}
	return ports
}

// socketTable returns the fields of the lines of a table below /proc/net, without its head; none where it cannot be
// read. Of a table larger than tableMax it has what comes first.
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
