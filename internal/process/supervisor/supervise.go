package supervisor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handedOn are the signals that the service gets.
var handedOn = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGWINCH, syscall.SIGPWR,
}

// service is what Run supervises. Owned by the goroutine of Run.
//
//	main is among all, unless it has ended
type service struct {
	main int   // the process that gets the signals
	all  []int // the processes of the service that have not ended
	code int   // how main has ended
}

// Run starts this program again with args, which do not ask for it any more, and returns its exit code when it has
// ended: 128 and the number of a signal where one ended it.
func Run(args []string) (code int, err error) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("supervise: take over processes without a parent: %w", err)
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, append([]os.Signal{syscall.SIGCHLD}, handedOn...)...)
	told, err := listen()
	if err != nil {
		return 0, fmt.Errorf("supervise: %w", err)
	}
	sockets, variables, err := handOn()
	if err != nil && !errors.Is(err, ErrOtherProcess) {
		return 0, fmt.Errorf("supervise: %w", err)
	}
	pid, err := begin(args, append(told.environment(), variables...), sockets)
	if err != nil {
		return 0, fmt.Errorf("supervise: %w", err)
	}
	release()
	s := service{main: pid, all: []int{pid}}
	for asked := false; ; {
		select {
		case sig := <-signals:
			if sig != syscall.SIGCHLD {
				_ = syscall.Kill(s.main, sig.(syscall.Signal)) // ESRCH: its end is about to be collected
				release()
				continue
			}
			s.reap()
		case pid := <-told.pids:
			if pid == last && len(s.all) == 0 {
				return s.code, nil
			}
			s.takes(pid)
			asked = asked && pid != last
		}
		if len(s.all) == 0 && !asked { // a process that has ended may have named another one just before
			asked = true
			told.send(told.name, endText)
		}
	}
}

// begin starts the program that runs now, with sockets of the supervisor of this process, which it closes.
func begin(args, env []string, sockets []*os.File) (pid int, err error) {
	defer func() {
		for _, f := range sockets {
			_ = f.Close() // the service has it
		}
	}()
	path, err := os.Executable()
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(path, append([]string{os.Args[0]}, args...), &os.ProcAttr{
		Env: env, Files: append([]*os.File{os.Stdin, os.Stdout, os.Stderr}, sockets...),
	})
	if err != nil {
		return 0, err
	}
	pid = p.Pid
	return pid, p.Release() // reap waits for it
}

// takes makes another process of the service its main one.
func (s *service) takes(pid int) {
	if pid == last || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return
	}
	if s.main = pid; !slices.Contains(s.all, pid) {
		s.all = append(s.all, pid)
	}
}

// reap collects what has ended.
func (s *service) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if pid <= 0 {
			break
		}
		if pid == s.main {
			s.code = codeOf(status)
		}
		s.ended(pid)
	}
	for _, pid := range slices.Clone(s.all) { // the process before may have waited for one itself
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			s.ended(pid)
		}
	}
}

// ended notes that a process is gone. When it was the main one, another process that is left gets the signals.
func (s *service) ended(pid int) {
	s.all = slices.DeleteFunc(s.all, func(p int) bool { return p == pid })
	if pid == s.main && len(s.all) > 0 {
		s.main = s.all[len(s.all)-1]
	}
}

func codeOf(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// news is the socket on which the service names its main process, as it would tell systemd.
type news struct {
	name string
	conn *net.UnixConn
	pids chan int // what it named; last: there is no more for now

	above string // the socket of the supervisor of this process, which hears all the rest; "": there is none
}

// last stands for a process where none was named: all that was said before has been heard.
const last = -1

// endText is what end says, to this process itself.
const endText = "X_EDGE_SUPERVISE=end\n"

// handOnWait is how long a datagram may wait for room in the queue of the supervisor of this process.
const handOnWait = 500 * time.Millisecond

func listen() (*news, error) {
	n := &news{
		name: "@edge-supervise-" + strconv.Itoa(os.Getpid()) + "-" + rand.Text(), pids: make(chan int),
		above: os.Getenv("NOTIFY_SOCKET"),
	}
	var err error
	if n.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.name, Net: "unixgram"}); err != nil {
		return nil, err
	}
	raw, err := n.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	go n.hear()
	return n, nil
}

// environment returns the environment for the service.
func (n *news) environment() (env []string) {
	for _, v := range os.Environ() {
		switch key, _, _ := strings.Cut(v, "="); key {
		case "NOTIFY_SOCKET", "WATCHDOG_PID": // the supervisor of this process is not the service's
		default:
			env = append(env, v)
		}
	}
	return append(env, "NOTIFY_SOCKET="+n.name)
}

// hear reads what the service says, until the process ends.
func (n *news) hear() {
	text, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		size, oobSize, _, _, err := n.conn.ReadMsgUnix(text, oob)
		if err != nil {
			return
		}
		if !ours(oob[:oobSize]) {
			continue
		}
		pid, rest := split(string(text[:size]))
		if pid != 0 {
			n.pids <- pid
		}
		if n.above != "" && rest != "" {
			n.send(n.above, rest)
		}
	}
}

// send sends a datagram. A supervisor that does not listen misses it.
func (n *news) send(to, text string) {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: to, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // it was sent, or it was not
	_ = conn.SetWriteDeadline(time.Now().Add(handOnWait))
	_, _ = conn.Write([]byte(text))
}

// ours reports whether a datagram was sent by root or the user of this process: a name without a file is open to all.
func ours(oob []byte) bool {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) == 0 {
		return false
	}
	from, err := unix.ParseUnixCredentials(&messages[0])
	return err == nil && (from.Uid == 0 || int(from.Uid) == os.Getuid())
}

// split takes MAINPID out of the lines of a datagram; 0: it has none. The rest is for the supervisor of this process,
// which is to believe that this is the service.
func split(text string) (pid int, rest string) {
	if text == endText {
		return last, ""
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(strings.TrimRight(line, "\n"), "MAINPID="); found {
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				pid = n
			}
			continue
		}
		rest += line
	}
	return pid, rest
}
