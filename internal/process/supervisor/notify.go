package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sendWait is how long a datagram may wait for room in the queue of the supervisor.
const sendWait = 500 * time.Millisecond

// textMax is the most bytes of a status: a longer one is cut.
const textMax = 1024

// NotifySocket is where the supervisor of the service hears of it. Safe for any goroutine but a reactor's.
//
// It is not a client of systemd: any supervisor that sets NOTIFY_SOCKET is told the same. It links no library and knows
// nothing of what is served.
//
//	FindNotifySocket ─► Ready ─► Status, Alive … ─► Reloading ─► Ready ─► … ─► Stopping ─► Status …
//
// A nil NotifySocket, which FindNotifySocket returns where no supervisor waits, takes every call and does nothing.
//
// A NotifySocket is safe for any goroutine, reactors aside: a call waits up to sendWait for a supervisor that does not
// read. Each call is one datagram, and datagrams arrive in the order of the calls. A socket of the kernel is opened for
// each call, as libsystemd does: so the supervisor may make its own again meanwhile.
//
// What could not be sent is logged once and then dropped: a supervisor that went away does not keep the process from
// serving.
type NotifySocket struct {
	addr     net.UnixAddr
	watchdog time.Duration

	mu     sync.Mutex // held while a datagram is sent: they stay in order
	failed bool       // it was told that one could not be sent; guarded by mu
}

// FindNotifySocket returns the socket that NOTIFY_SOCKET names; nil: there is none. The variables stay: a new binary of
// the service has the same supervisor. The error says why the socket, or the watchdog beside it, is not used; the
// NotifySocket may be used all the same.
func FindNotifySocket() (*NotifySocket, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	switch {
	case path == "":
		return nil, nil
	case path[0] != '/' && path[0] != '@' || len(path) < 2:
		return nil, fmt.Errorf("NOTIFY_SOCKET=%q is neither a path nor an abstract socket: the supervisor of the "+
			"service hears nothing", path)
	}
	s := &NotifySocket{addr: net.UnixAddr{Name: path, Net: "unixgram"}}
	var err error
	s.watchdog, err = watchdogFrom(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"))
	return s, err
}

// watchdogFrom returns the time within which the supervisor has to hear that the process is alive; 0: it does not wait.
// sd_watchdog_enabled(3): WATCHDOG_PID, where it is set, names the process that is meant.
func watchdogFrom(micros, pid string) (time.Duration, error) {
	if micros == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || n <= 0 || n > int64(time.Duration(1<<62)/time.Microsecond) {
		return 0, fmt.Errorf("WATCHDOG_USEC=%q is not a number of microseconds: there is no watchdog", micros)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// Watchdog returns the time within which the supervisor has to hear Alive; 0: it does not wait for it.
func (s *NotifySocket) Watchdog() time.Duration {
	if s == nil {
		return 0
	}
	return s.watchdog
}

// Ready says that the service serves: after its start, and after each reload.
func (s *NotifySocket) Ready(status string) { s.send("READY=1", statusOf(status)) }

// Reloading says that the configuration is read again. Ready ends that, whether anything has changed or not.
// A supervisor takes a Ready for the answer to it by the time of this call, on the clock that all processes share.
func (s *NotifySocket) Reloading(status string) {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it cannot fail
	s.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/int64(time.Microsecond), 10), statusOf(status))
}

// Stopping says that the process is about to end, and that the supervisor hears from it again within more.
func (s *NotifySocket) Stopping(status string, more time.Duration) {
	s.send("STOPPING=1", extension(more), statusOf(status))
}

// Status says in one line what the service does. Unless more is 0, the supervisor hears from it again within more: as
// long as that holds, it does not end a service that takes longer than its times for the start or the end.
func (s *NotifySocket) Status(text string, more time.Duration) {
	s.send(statusOf(text), extension(more))
}

// Alive says that the service goes on. It has to be said at least once in each Watchdog.
func (s *NotifySocket) Alive() { s.send("WATCHDOG=1") }

// MainPID says that another process of the service is the one to watch from now on. A supervisor believes it of
// processes in the same control group alone.
func (s *NotifySocket) MainPID(pid int) { s.send("MAINPID=" + strconv.Itoa(pid)) }

// Failed says why the process is about to end.
func (s *NotifySocket) Failed(err error) {
	var number syscall.Errno
	if errors.As(err, &number) {
		s.send(statusOf(err.Error()), "ERRNO="+strconv.Itoa(int(number)))
		return
	}
	s.send(statusOf(err.Error()))
}

// send sends the lines that are not empty in one datagram.
func (s *NotifySocket) send(lines ...string) {
	if s == nil {
		return
	}
	var text strings.Builder
	for _, line := range lines {
		if line != "" {
			text.WriteString(line + "\n")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.write(text.String())
	if err != nil && !s.failed {
		slog.Warn("the supervisor of the service hears nothing", "socket", s.addr.Name, "error", err)
	}
	s.failed = err != nil
}

func (s *NotifySocket) write(text string) error {
	conn, err := net.DialUnix("unixgram", nil, &s.addr)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the datagram was sent, or the error is known
	if err := conn.SetWriteDeadline(time.Now().Add(sendWait)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(text))
	return err
}

// statusOf returns the line for a status, which is one line.
func statusOf(text string) string {
	if text == "" {
		return ""
	}
	if len(text) > textMax {
		text = text[:textMax]
	}
	return "STATUS=" + strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\n", " ")
}

// extension returns the line that asks for more time; "": none.
func extension(more time.Duration) string {
	if more <= 0 {
		return ""
	}
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(more.Microseconds(), 10)
}
