package server

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
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
	holderTime = 3 * time.Second
	tableMax   = 8 << 20 // bytes of a table of sockets that are searched
)

var (
	errNoHolder     = errors.New("no socket listens on that address now")
	errHolderHidden = errors.New("no process of this user listens there, so it is another user's")
)

// holder is a process that listens on an address.
type holder struct {
	pid  int
	name string
}

// holderOf finds the process that listens on an address, in the folder proc, which is /proc. Only root sees whose the
// sockets of other users are.
func holderOf(proc string, a poller.Addr) (holder, error) {
	inodes := listeningInodes(proc, a)
	if len(inodes) == 0 {
		return holder{}, errNoHolder
	}
	begun := time.Now()
	processes, _ := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	for _, dir := range processes {
		fds, _ := os.ReadDir(filepath.Join(dir, "fd"))
		for _, fd := range fds {
			to, _ := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			inode, isSocket := strings.CutPrefix(to, "socket:[")
			if !isSocket || !slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(dir))
			name, _ := os.ReadFile(filepath.Join(dir, "comm"))
			return holder{pid, strings.TrimSpace(string(name))}, nil
		}
		if time.Since(begun) > holderTime {
			break
		}
	}
	return holder{}, errHolderHidden
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
