package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server/holder"
	"github.com/edge-proxy/edge/poller"
)

// ListenError says why an address of a listener cannot be opened.
type ListenError struct {
	Pos      config.Pos // of the address in the configuration; without a line: it stands in none
	Listener string     // its name, else the address
	Err      error
	Try      []string // what helps: a sentence, and then the lines of which one is to be chosen; may be empty
}

// Error returns all but what helps.
func (e *ListenError) Error() string {
	text := fmt.Sprintf("listener %s: %v", e.Listener, e.Err)
	if e.Pos.Line > 0 {
		return e.Pos.String() + ": " + text
	}
	return text
}

// Unwrap returns Err.
func (e *ListenError) Unwrap() error { return e.Err }

// udpError is an error of a UDP port: another process may have it than the TCP port of that number.
type udpError struct{ error }

func (e udpError) Unwrap() error { return e.error }

func listenError(c *config.Listener, a *config.Address, err error) *ListenError {
	return &ListenError{Pos: a.Pos, Listener: nameAt(c, a), Err: err, Try: wayOut("/proc", addrsOf(a)[0], err)}
}

// nameAt returns what an address of c is called in the event log: by the name of the listener if it has one.
func nameAt(c *config.Listener, a *config.Address) string {
	if c.Name == c.Addresses[0].Text {
		return a.Text
	}
	return c.Name
}

// wayOut returns what helps against an error of an address. proc is the folder /proc.
func wayOut(proc string, a poller.Addr, err error) []string {
	switch {
	case a.IsUnix():
		return socketWayOut(proc, a, err)
	case errors.Is(err, unix.EACCES) && int(a.IP.Port()) < unprivilegedPort(proc):
		return portRight(a.IP.Port())
	case errors.Is(err, unix.EADDRINUSE):
		return []string{whoHolds(proc, a, errors.As(err, new(udpError)), 0)}
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return []string{"no interface of this machine has that address now: ip address lists its addresses; " +
			"for an address that comes later: sysctl net.ipv4.ip_nonlocal_bind=1"}
	}
	return nil
}

// unprivilegedPort returns the first port that all users may listen on.
func unprivilegedPort(proc string) int {
	text, _ := os.ReadFile(filepath.Join(proc, "sys/net/ipv4/ip_unprivileged_port_start"))
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		return n
	}
	return 1024
}

// portRight says how a process gets a port that only root may listen on.
func portRight(port uint16) []string {
	program, err := os.Executable()
	if err != nil {
		program = "edge"
	}
	return []string{
		"only root may listen on this port, unless one of these allows it",
		"sudo setcap cap_net_bind_service=+ep " + program,
		fmt.Sprintf("sudo sysctl net.ipv4.ip_unprivileged_port_start=%d", port),
		"AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit of systemd",
	}
}

// whoHolds names the process that listens on an address, or the command that does. before is the process that this one
// has taken over from, which lockdown hides; 0: none.
func whoHolds(proc string, a poller.Addr, udp bool, before int) string {
	command := "ss -lxp src " + a.Path
	switch {
	case udp:
		command = fmt.Sprintf("ss -lunp 'sport = :%d'", a.IP.Port())
	case !a.IsUnix():
		command = fmt.Sprintf("ss -ltnp 'sport = :%d'", a.IP.Port())
	}
	h, err := holder.Of(proc, a, udp)
	switch {
	case errors.Is(err, holder.ErrNone):
		return "no process listens on it by now, try again; else " + command + " lists them"
	case errors.Is(err, holder.ErrHidden) && before > 0 && syscall.Kill(before, 0) == nil:
		return fmt.Sprintf("the process before, edge, process %d, listens there until it has drained", before)
	case err != nil:
		return err.Error() + ": sudo " + command + " names it"
	case h.PID == os.Getpid():
		return "this process listens there, on an address that overlaps it: a restart opens it"
	}
	return fmt.Sprintf("%s, process %d, listens there", h.Name, h.PID)
}

// socketWayOut is wayOut for a Unix socket.
func socketWayOut(proc string, a poller.Addr, err error) []string {
	folder := filepath.Dir(a.Path)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		if at, err := os.Lstat(a.Path); err == nil && at.Mode()&os.ModeSocket == 0 {
			return []string{fmt.Sprintf("%s is no socket but %s: remove it, or name another path", a.Path,
				kindOf(at.Mode()))}
		}
		return []string{whoHolds(proc, a, false, 0)}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return []string{fmt.Sprintf("user %d may not make files in %s: chown it, or RuntimeDirectory=edge in the unit "+
			"of systemd makes /run/edge", os.Geteuid(), folder)}
	case errors.Is(err, unix.ENOENT):
		return []string{fmt.Sprintf("there is no folder %s: mkdir -p %[1]s, or RuntimeDirectory=edge in the unit of "+
			"systemd makes /run/edge", folder)}
	}
	return nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode.IsDir():
		return "a folder"
	case mode&os.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "a special file"
}
