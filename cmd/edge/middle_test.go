package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A middle stands between the old process and the new one, and passes their frames on, so that a test can act at each
// one. The program that the old process starts is the binary of the tests: it gives its end of the channel to the
// test, gets another one, and becomes edge, with the number by which the old process kills it.
//
//	old ══ real channel ══ test: middle ══ pair ══ new
const (
	middleEnv = "EDGE_TEST_MIDDLE" // where the test listens; it makes the binary of the tests such a program
	becomeEnv = "EDGE_TEST_BECOME" // the binary of edge
	dialEnv   = "EDGE_TEST_DIAL"   // upgrade_sock of the old process, which has not started this one; "": it has
)

// becomeEdge is the program that the old process starts.
func becomeEdge(socket string) error {
	bin := os.Getenv(becomeEnv)
	if path := os.Getenv(dialEnv); path != "" {
		old, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		if err != nil {
			return err
		}
		f, err := old.File()
		if err != nil {
			return err
		}
		if err := unix.Dup3(int(f.Fd()), 3, 0); err != nil && int(f.Fd()) != 3 {
			return err
		}
		_ = old.Close()
		_, _ = os.Setenv("EDGE_UPGRADE_FD", "3"), os.Unsetenv(dialEnv)
	}
	if os.Getenv("EDGE_UPGRADE_FD") == "3" {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
		if err != nil {
			return err
		}
		if _, _, err := c.WriteMsgUnix([]byte(fmt.Sprint(os.Getpid())), unix.UnixRights(3), nil); err != nil {
			return err
		}
		_, fds, err := passed(c)
		if err != nil || len(fds) != 1 {
			return fmt.Errorf("%d descriptors: %w", len(fds), err)
		}
		if err := unix.Dup3(fds[0], 3, 0); err != nil {
			return err
		}
	}
	return syscall.Exec(bin, append([]string{bin}, os.Args[1:]...), os.Environ())
}

// passed receives a message with its descriptors.
func passed(c *net.UnixConn) (message []byte, fds []int, err error) {
	in, oob := make([]byte, upgrade.MessageMax), make([]byte, unix.CmsgSpace(4*upgrade.FilesMax))
	n, oobn, _, _, err := c.ReadMsgUnix(in, oob)
	if err != nil || n == 0 {
		return nil, nil, fmt.Errorf("the end of the channel: %w", err)
	}
	controls, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	for i := range controls {
		more, err := unix.ParseUnixRights(&controls[i])
		if err != nil {
			return nil, nil, err
		}
		fds = append(fds, more...)
	}
	return in[:n], fds, nil
}

// frameAt is one frame that a middle holds.
type frameAt struct {
	*upgrade.Frame
	nth     int // of its type, from 1
	fromNew bool
	next    int    // the new process
	pass    func() // passes it on; the middle does afterwards where nobody has
	lose    func() // it is not passed on
}

// middle passes the frames of one upgrade, of a process that was started with env.
type middle struct {
	t   *testing.T
	l   *net.UnixListener
	env []string
	on  func(*frameAt) // before follow of the test, then of the goroutines

	next     int           // the new process
	ran      chan struct{} // closed at the end of an upgrade; of the test
	mu       sync.Mutex
	tally    map[upgrade.Type]int // that have come; guarded by mu
	passedOn []upgrade.Type       // guarded by mu
}

func newMiddle(t *testing.T) *middle {
	t.Helper()
	path := testutil.SocketPath(t)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	testutil.Must(t, err)
	t.Cleanup(func() { l.Close() })
	return &middle{
		t: t, l: l, tally: map[upgrade.Type]int{},
		env: []string{middleEnv + "=" + path, becomeEnv + "=" + testutil.Binary(t, "./cmd/edge")},
	}
}

// follow begins. on is called for each frame, those of one direction one after the other.
func (m *middle) follow(on func(*frameAt)) {
	m.on = on
	go m.run()
}

// again is follow for another upgrade of the same process, after the end of the one before.
func (m *middle) again(on func(*frameAt)) {
	if m.ran != nil {
		<-m.ran
	}
	m.ran = make(chan struct{})
	go func() {
		defer close(m.ran)
		m.on = on
		m.run()
	}()
}

// program is what edge upgrade is given.
func (m *middle) program() string {
	path, err := os.Executable()
	testutil.Must(m.t, err)
	if path, err = filepath.Abs(path); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// run takes the channel of the new process and passes frames until one side has ended.
func (m *middle) run() {
	c, err := m.l.AcceptUnix()
	if err != nil {
		return // no upgrade has come to a start
	}
	defer c.Close()
	text, fds, err := passed(c)
	if err != nil || len(fds) != 1 {
		m.t.Errorf("the new process: %d descriptors, %v", len(fds), err)
		return
	}
	m.next, _ = strconv.Atoi(string(text))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		m.t.Error(err)
		return
	}
	old, next := connOf(fds[0]), connOf(pair[0])
	_, _, err = c.WriteMsgUnix([]byte("yours"), unix.UnixRights(pair[1]), nil)
	_ = unix.Close(pair[1])
	if err != nil {
		m.t.Error(err)
		return
	}
	var wait sync.WaitGroup
	wait.Go(func() { m.pass(old, next, false) })
	m.pass(next, old, true)
	wait.Wait()
}

// connOf takes a descriptor over.
func connOf(fd int) *net.UnixConn {
	f := os.NewFile(uintptr(fd), "channel")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		panic(err) // it is a socket
	}
	return c.(*net.UnixConn)
}

// pass passes frames on until from has ended. What has come by then is passed on before the end is.
func (m *middle) pass(from, to *net.UnixConn, fromNew bool) {
	defer to.Close()
	for reset := false; ; {
		text, fds, err := passed(from)
		if err != nil && !reset { // the kernel says first that from has not read all, then gives what it has sent
			reset = true
			continue
		}
		if err != nil {
			return
		}
		f, err := upgrade.Parse(text)
		if err != nil {
			m.t.Error(err)
			return
		}
		m.handle(f, fromNew, func() {
			var oob []byte
			if len(fds) > 0 {
				oob = unix.UnixRights(fds...)
			}
			_, _, _ = to.WriteMsgUnix(text, oob, nil) // it may have ended
		})
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
}

// handle tells the test of a frame and passes it on.
func (m *middle) handle(f *upgrade.Frame, fromNew bool, send func()) {
	m.mu.Lock()
	m.tally[f.Type]++
	at := &frameAt{Frame: f, nth: m.tally[f.Type], fromNew: fromNew, next: m.next}
	m.mu.Unlock()
	over := false
	at.lose = func() { over = true }
	at.pass = func() {
		if over {
			return
		}
		over = true
		m.mu.Lock()
		m.passedOn = append(m.passedOn, f.Type)
		m.mu.Unlock()
		send()
	}
	m.on(at)
	at.pass()
}

// passedFrames returns which frames were passed on.
func (m *middle) passedFrames() []upgrade.Type {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.passedOn)
}
