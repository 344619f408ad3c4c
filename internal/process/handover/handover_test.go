package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// visitEnv has the test binary connect to an upgrade socket and say whether it got in.
const visitEnv = "EDGE_TEST_VISIT"

func TestMain(m *testing.M) {
	if path := os.Getenv(visitEnv); path != "" {
		c, _, err := Dial(path)
		if err == nil {
			_, _, err = c.Receive(time.Now().Add(testutil.Patience))
		}
		fmt.Println(err)
		os.Exit(0)
	}
	os.Exit(testutil.Main(m))
}

// pair is a channel with both of its ends in this process.
func pair(t *testing.T) (a, b *Channel) {
	t.Helper()
	a, f, err := Pair()
	testutil.Must(t, err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	testutil.Must(t, err)
	f.Close()
	if b, err = Open(fd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func working(step string) *upgrade.Frame {
	return &upgrade.Frame{Version: 1, Type: upgrade.Working, Body: upgrade.WorkingBody{Step: step}}
}

// sockets makes n descriptors.
func sockets(t *testing.T, n int) []int {
	t.Helper()
	fds := make([]int, n)
	for i := range fds {
		var err error
		if fds[i], err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { CloseAll(fds) })
	return fds
}

func TestChannel_carriesDescriptors(t *testing.T) {
	a, b := pair(t)
	for _, n := range []int{0, 1, upgrade.FilesMax} {
		testutil.Must(t, a.Send(working("x"), sockets(t, n)))
		m, fds, err := b.Receive(time.Now().Add(testutil.Patience))
		if err != nil || len(fds) != n {
			t.Fatalf("%d descriptors of %d, %v", len(fds), n, err)
		}
		if f, err := upgrade.Parse(m); err != nil || f.Body != (upgrade.WorkingBody{Step: "x"}) {
			t.Errorf("%+v, %v", f, err)
		}
		for _, fd := range fds {
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor %d stays open on exec: %v", fd, err)
			}
		}
		CloseAll(fds)
	}
	if err := a.Send(working("x"), sockets(t, upgrade.FilesMax+1)); err == nil {
		t.Error("one descriptor too many was sent")
	}
	if _, _, err := b.Receive(time.Now().Add(-time.Second)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing came: %v", err)
	}
}

// The end comes after what was sent before, also where the process that ended had not read all: the kernel says
// ECONNRESET first then.
func TestChannel_endComesLast(t *testing.T) {
	for _, unread := range []bool{false, true} {
		a, b := pair(t)
		if unread {
			testutil.Must(t, b.Send(working("unread"), nil))
		}
		for range 3 {
			testutil.Must(t, a.Send(working("y"), sockets(t, 2)))
		}
		a.Close()
		for range 3 {
			_, fds, err := b.Receive(time.Time{})
			if err != nil || len(fds) != 2 {
				t.Fatalf("unread %v: %d descriptors, %v", unread, len(fds), err)
			}
			CloseAll(fds)
		}
		if _, _, err := b.Receive(time.Time{}); !errors.Is(err, io.EOF) {
			t.Errorf("unread %v: %v", unread, err)
		}
		if err := b.Send(working("z"), nil); err == nil {
			t.Error("sent to nobody")
		}
	}
}

// The kernel drops the descriptors for which there is no room, the last ones.
func TestChannel_truncates(t *testing.T) {
	a, b := pair(t)
	sent := sockets(t, 40)
	testutil.Must(t, a.Send(working("x"), sent))
	var old unix.Rlimit
	testutil.Must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	few := old
	few.Cur = uint64(sent[len(sent)-1] + 11)
	testutil.Must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	_, fds, err := b.Receive(time.Now().Add(testutil.Patience))
	testutil.Must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	if err != nil || len(fds) == 0 || len(fds) >= len(sent) {
		t.Fatalf("%d descriptors of %d, %v", len(fds), len(sent), err)
	}
	var first, got unix.Stat_t
	_ = unix.Fstat(sent[0], &first)
	_ = unix.Fstat(fds[0], &got)
	if first.Ino != got.Ino {
		t.Error("the first one did not come first")
	}
	CloseAll(fds)
}

func TestOpen_refuses(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	testutil.Must(t, err)
	defer CloseAll(fds[1:])
	file, err := os.Open(os.DevNull)
	testutil.Must(t, err)
	defer file.Close()
	null, _ := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	for _, fd := range []int{-1, fds[0], null} {
		if _, err := Open(fd); err == nil {
			t.Errorf("descriptor %d is a channel", fd)
		}
	}
}

func TestMemory(t *testing.T) {
	f, err := WriteMemory("manifest", upgrade.Manifest{Sockets: make([]upgrade.Socket, 1000)})
	testutil.Must(t, err)
	defer f.Close()
	for range 2 { // reading moves nothing
		var m upgrade.Manifest
		if err := ReadMemory("manifest", int(f.Fd()), &m); err != nil || len(m.Sockets) != 1000 {
			t.Errorf("%d sockets, %v", len(m.Sockets), err)
		}
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("its content was changed")
	}
	open, err := os.CreateTemp(t.TempDir(), "")
	testutil.Must(t, err)
	defer open.Close()
	if err := ReadMemory("manifest", int(open.Fd()), &struct{}{}); !errors.Is(err, errUnsealed) {
		t.Errorf("a file that is not sealed: %v", err)
	}
	if _, err := WriteMemory("x", func() {}); err == nil {
		t.Error("a function was written")
	}
}

func TestUpgradeSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "upgrade.sock")
	d, err := ListenForUpgrades(path, false)
	testutil.Must(t, err)
	if at, err := os.Stat(path); err != nil || at.Mode().Perm() != 0o600 || !d.InPlace() {
		t.Errorf("%v, %v", at, err)
	}
	var taken TakenError
	if _, err := ListenForUpgrades(path, false); !errors.As(err, &taken) {
		t.Errorf("a second one: %v", err)
	}
	d.Close()
}

func TestUpgradeSocket_peer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "upgrade.sock")
	d, err := ListenForUpgrades(path, false)
	testutil.Must(t, err)
	defer d.Close()
	var here *Peer
	var wait sync.WaitGroup
	wait.Go(func() {
		c, p, err := d.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		here = p
	})
	c, p, err := Dial(path)
	testutil.Must(t, err)
	defer c.Close()
	defer p.Close()
	wait.Wait()
	defer here.Close()
	for _, p := range []*Peer{p, here} {
		if p.PID != os.Getpid() || p.UID != os.Geteuid() || p.Signal(0) != nil {
			t.Errorf("%+v", p)
		}
	}
	if _, _, err := c.Receive(time.Time{}); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// A name that another process has taken stays that one's; what a process that was killed left is replaced.
func TestUpgradeSocket_names(t *testing.T) {
	path := filepath.Join(t.TempDir(), "upgrade.sock")
	first, err := ListenForUpgrades(path, false)
	testutil.Must(t, err)
	second, err := ListenForUpgrades(path, true)
	testutil.Must(t, err)
	if first.InPlace() || !second.InPlace() {
		t.Error("the name is still the first one's")
	}
	first.Close()
	if !second.InPlace() {
		t.Error("the first one has removed the file of the second")
	}
	_ = second.listener.Close() // as SIGKILL does
	third, err := ListenForUpgrades(path, false)
	testutil.Must(t, err)
	third.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	testutil.Must(t, os.WriteFile(path, []byte("mine"), 0o600))
	if _, err := ListenForUpgrades(path, true); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("in place of a file: %v", err)
	}
	if _, err := ListenForUpgrades(filepath.Join(path, "x"), true); err == nil {
		t.Error("in a folder that is none")
	}
	if _, _, err := Dial(path + "none"); err == nil {
		t.Error("nobody is there")
	}
}

// A process of another user is refused, although the mode of the file would let it connect.
func TestUpgradeSocket_otherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root starts processes of others")
	}
	dir, err := os.MkdirTemp("/tmp", "upgrade")
	testutil.Must(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "upgrade.sock")
	d, err := ListenForUpgrades(path, false)
	testutil.Must(t, err)
	defer d.Close()
	bin := filepath.Join(dir, "visitor")
	text, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		testutil.WriteProgram(t, bin, text)
	}
	if err != nil || os.Chmod(dir, 0o755) != nil || os.Chmod(path, 0o666) != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		c, _, err := d.Accept()
		if err == nil {
			c.Close()
		}
		said <- err
	}()
	visit := exec.Command(bin)
	visit.Env = []string{visitEnv + "=" + path}
	visit.Dir = dir
	visit.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := visit.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := <-said; !errors.As(err, new(errOtherUser)) || !strings.Contains(err.Error(), "user 65534") {
		t.Errorf("it got in: %v", err)
	}
	if !strings.Contains(string(out), "EOF") {
		t.Errorf("it was told: %s", out)
	}
}

// side is an OldProcess and a NewProcess over real listening sockets, without a server.
type side struct {
	t       *testing.T
	mu      sync.Mutex
	log     []string
	idle    chan []Conn
	got     []Conn
	back    []Conn
	kept    []Conn
	killed  func()
	refuses error
}

func (s *side) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

func (s *side) did() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, ", ")
}

func (s *side) Suspend(claims []int) error { s.note("suspend %d", len(claims)); return s.refuses }
func (s *side) Yield(pid int, _ bool)      { s.note("yield to %d", pid) }
func (s *side) Owned(int)                  {}
func (s *side) Batches() <-chan []Conn     { return s.idle }
func (s *side) Left() upgrade.DrainBody    { return upgrade.DrainBody{Before: 7} }
func (s *side) Keep(conns []Conn, _ error) {
	s.note("keep %d", len(conns))
	s.kept = append(s.kept, conns...)
}
func (s *side) CloseSocket(socket int)         { s.note("close %d", socket) }
func (s *side) EndDraining(before int)         { s.note("end %d", before) }
func (s *side) Kill()                          { s.note("kill"); s.killed() }
func (s *side) Resume(conns []Conn, why error) { s.note("resume"); s.back = conns }
func (s *side) Accept() error                  { s.note("accept"); return s.refuses }
func (s *side) TakeNames()                     { s.note("names") }
func (s *side) Receive(conns []Conn)           { s.mu.Lock(); s.got = append(s.got, conns...); s.mu.Unlock() }
func (s *side) received() int                  { s.mu.Lock(); defer s.mu.Unlock(); return len(s.got) }

// both is an old and a new side over a channel.
func both(t *testing.T, listening, batches int) (old *OldSide, oldSide *side, channel *Channel, conns []net.Conn) {
	t.Helper()
	a, b := pair(t)
	oldSide = &side{t: t, idle: make(chan []Conn, batches), killed: b.Close}
	manifest := upgrade.Manifest{Sockets: make([]upgrade.Socket, listening)}
	file, err := WriteMemory(upgrade.ManifestFile, manifest)
	testutil.Must(t, err)
	t.Cleanup(func() { file.Close() })
	secrets, err := WriteMemory(upgrade.SecretsFile, upgrade.Secrets{TicketKeys: [][]byte{[]byte("key")}})
	testutil.Must(t, err)
	t.Cleanup(func() { secrets.Close() })
	for n := range batches {
		var batch []Conn
		for i := range 10 {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			testutil.Must(t, err)
			f := os.NewFile(uintptr(fds[1]), "client")
			c, err := net.FileConn(f)
			f.Close()
			testutil.Must(t, err)
			t.Cleanup(func() { c.Close() })
			conns = append(conns, c)
			batch = append(batch, Conn{FD: fds[0], Socket: i, Requests: uint32(10*n + i), Age: time.Second})
		}
		oldSide.idle <- batch
	}
	close(oldSide.idle)
	old = &OldSide{
		Channel: a, Files: []int{int(file.Fd()), int(secrets.Fd())}, Sockets: sockets(t, listening), Process: oldSide,
		Offer: upgrade.OfferBody{Give: upgrade.GiveIdle, Sockets: listening,
			Files: []string{upgrade.ManifestFile, upgrade.SecretsFile}},
	}
	return old, oldSide, b, conns
}

func TestSides_handOver(t *testing.T) {
	old, oldSide, channel, clients := both(t, 300, 12)
	result := make(chan error, 1)
	go func() { result <- old.Run() }()
	s := Join(channel, upgrade.HelloBody{PID: 4711, Free: 1000}, upgrade.Times{})
	inherited, err := s.Inherit()
	if err != nil || len(inherited.Sockets) != 300 || len(inherited.Manifest.Sockets) != 300 ||
		string(inherited.Secrets.TicketKeys[0]) != "key" || inherited.OldEnded {
		t.Fatalf("%+v, %v", inherited, err)
	}
	defer CloseAll(inherited.Sockets)
	s.Step("self-check")
	newSide := &side{t: t}
	testutil.Must(t, s.Ready([]int{0, 1, 2}, newSide))
	<-s.Done()
	if err := <-result; err != nil || s.End() != nil {
		t.Errorf("old: %v, new: %v", err, s.End())
	}
	if oldSide.did() != "suspend 3, yield to 4711" || newSide.did() != "accept, names" {
		t.Errorf("old: %s; new: %s", oldSide.did(), newSide.did())
	}
	if len(newSide.got) != len(clients) {
		t.Fatalf("%d of %d connections", len(newSide.got), len(clients))
	}
	for i, c := range newSide.got { // each descriptor is the one that its description is of, and nobody else has it
		if c.Requests != uint32(i) || c.Age != time.Second {
			t.Errorf("connection %d: %+v", i, c)
		}
		if _, err := unix.Write(c.FD, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		CloseAll([]int{c.FD})
		if b, err := io.ReadAll(clients[i]); err != nil || string(b) != string([]byte{byte(i)}) {
			t.Errorf("client %d: %q, %v", i, b, err)
		}
	}
}

// The new process ends with batches in the channel that it has not confirmed: the old one has all their connections. It
// serves again, unless a further process serves.
func TestSides_newEnds(t *testing.T) {
	for _, passed := range []bool{false, true} {
		old, oldSide, channel, _ := both(t, 3, 12)
		result := make(chan error, 1)
		go func() { result <- old.Run() }()
		say := func(typ upgrade.Type, body any) {
			if err := channel.Send(&upgrade.Frame{Version: 1, Type: typ, Body: body}, nil); err != nil {
				t.Error(err)
			}
		}
		say(upgrade.Hello, upgrade.HelloBody{Min: 1, Max: 1, Free: 1000})
		say(upgrade.Ready, upgrade.ReadyBody{Claims: []int{0}})
		say(upgrade.Serving, nil)
		gives := 0
		for gives < 4 { // a window
			m, fds, err := channel.Receive(time.Now().Add(testutil.Patience))
			testutil.Must(t, err)
			CloseAll(fds)
			if f, _ := upgrade.Parse(m); f.Type == upgrade.Give {
				gives++
			}
		}
		if passed {
			say(upgrade.Pass, upgrade.PassBody{Passed: true})
		}
		channel.Close()
		if err := <-result; (err == nil) != passed {
			t.Errorf("passed %v: %v", passed, err)
		}
		back := oldSide.back
		if passed {
			back = oldSide.kept
		}
		if len(back) != 40 {
			t.Errorf("passed %v: %d connections came back: %s", passed, len(back), oldSide.did())
		}
		for _, c := range back {
			CloseAll([]int{c.FD})
		}
		for batch := range oldSide.idle {
			for _, c := range batch {
				CloseAll([]int{c.FD})
			}
		}
	}
}

// A process that has given everything hears, too, that the new one has ended and a further one serves: connections that
// are not in a batch yet stay with it.
func TestSides_newEndsWithoutBatches(t *testing.T) {
	old, oldSide, channel, _ := both(t, 3, 0)
	oldSide.idle = make(chan []Conn)
	result := make(chan error, 1)
	go func() { result <- old.Run() }()
	for _, f := range []upgrade.Frame{
		{Version: 1, Type: upgrade.Hello, Body: upgrade.HelloBody{Min: 1, Max: 1, Free: 1000}},
		{Version: 1, Type: upgrade.Ready, Body: upgrade.ReadyBody{Claims: []int{0}}},
		{Version: 1, Type: upgrade.Serving},
		{Version: 1, Type: upgrade.Pass, Body: upgrade.PassBody{Passed: true}},
	} {
		testutil.Must(t, channel.Send(&f, nil))
	}
	for typ := upgrade.Type(0); typ != upgrade.Go; { // after which the old one answers nothing of these
		m, fds, err := channel.Receive(time.Now().Add(testutil.Patience))
		testutil.Must(t, err)
		CloseAll(fds)
		f, err := upgrade.Parse(m)
		testutil.Must(t, err)
		typ = f.Type
	}
	channel.Close()
	if err := <-result; err != nil || !strings.HasSuffix(oldSide.did(), "keep 0, close 0") {
		t.Errorf("%v: %s", err, oldSide.did())
	}
}

func TestSides_refusals(t *testing.T) {
	for _, c := range []struct {
		name     string
		new      func(s *NewSide)
		old, log string
	}{
		{"the new one", func(s *NewSide) {
			_, _ = s.Inherit()
			s.Refuse(errors.New("bad key"))
		}, "refuses: bad key", ""},
		{"an accept that fails", func(s *NewSide) {
			_, _ = s.Inherit()
			if s.Ready(nil, &side{refuses: errors.New("no epoll")}) == nil {
				panic("it is ready")
			}
			s.channel.Close() // the end of the process
		}, "ended before it served", "suspend 0, resume"},
	} {
		old, oldSide, channel, _ := both(t, 1, 0)
		result := make(chan error, 1)
		go func() { result <- old.Run() }()
		c.new(Join(channel, upgrade.HelloBody{Free: 1000}, upgrade.Times{}))
		if err := <-result; err == nil || !strings.Contains(err.Error(), c.old) || oldSide.did() != c.log {
			t.Errorf("%s: %v, %s", c.name, err, oldSide.did())
		}
	}
}

// An old process that cannot stop accepting ends the attempt before the new one may accept, which hears why.
func TestSides_cannotSuspend(t *testing.T) {
	old, oldSide, channel, _ := both(t, 1, 0)
	oldSide.refuses = errors.New("a reload is under way")
	oldSide.killed = func() {} // it hears of it and ends
	result := make(chan error, 1)
	go func() { result <- old.Run() }()
	s := Join(channel, upgrade.HelloBody{Free: 1000}, upgrade.Times{})
	if _, err := s.Inherit(); err != nil {
		t.Fatal(err)
	}
	newSide := &side{t: t}
	if err := s.Ready([]int{0}, newSide); err == nil || !strings.Contains(err.Error(), "a reload is under way") {
		t.Errorf("the new one: %v", err)
	}
	channel.Close()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "a reload is under way") {
		t.Errorf("the old one: %v", err)
	}
	if oldSide.did() != "suspend 1, kill" || newSide.did() != "" {
		t.Errorf("old: %s; new: %s", oldSide.did(), newSide.did())
	}
}

// The old process ends at once: the new one goes on alone.
func TestNewSide_alone(t *testing.T) {
	a, b := pair(t)
	a.Close()
	s := Join(b, upgrade.HelloBody{Free: 1000}, upgrade.Times{})
	inherited, err := s.Inherit()
	if err != nil || !inherited.OldEnded || len(inherited.Sockets) != 0 {
		t.Fatalf("%+v, %v", inherited, err)
	}
	newSide := &side{t: t}
	if err := s.Ready(nil, newSide); err != nil || newSide.did() != "accept, names" {
		t.Errorf("%v, %s", err, newSide.did())
	}
	<-s.Done()
	if s.End() == nil {
		t.Error("the process before ended well")
	}
}

// A silent new process is ended, and nothing is taken back before it has.
func TestOldSide_silence(t *testing.T) {
	old, oldSide, _, _ := both(t, 1, 0)
	old.Times = upgrade.Times{Hello: 20 * time.Millisecond}
	if err := old.Run(); err == nil || !strings.Contains(err.Error(), "does not answer") || oldSide.did() != "kill" {
		t.Errorf("%v, %s", err, oldSide.did())
	}
}

func TestOldSide_cancelled(t *testing.T) {
	old, oldSide, channel, _ := both(t, 1, 0)
	cancel := make(chan error, 1)
	cancel <- errors.New("it is told to end")
	old.Cancel = cancel
	s := Join(channel, upgrade.HelloBody{Free: 1000}, upgrade.Times{})
	oldSide.killed = func() {} // the new process hears of it and ends
	result := make(chan error, 1)
	go func() { result <- old.Run() }()
	<-s.Done()
	channel.Close()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "told to end") {
		t.Error(err)
	}
	if err := s.failure(); err == nil || !strings.Contains(err.Error(), "told to end") {
		t.Errorf("the new one: %v", err)
	}
}

func TestOldSide_tooManyInFlight(t *testing.T) {
	old, oldSide, channel, _ := both(t, 1, 3)
	go func() {
		s := Join(channel, upgrade.HelloBody{Free: 1000}, upgrade.Times{})
		if _, err := s.Inherit(); err == nil {
			_ = s.Ready([]int{0}, &side{t: t})
		}
	}()
	// A descriptor that cannot be sent stands for the limit that an ordinary user has.
	bad := <-oldSide.idle
	CloseAll([]int{bad[0].FD})
	bad[0].FD = -1
	idle := make(chan []Conn, 2)
	idle <- bad
	idle <- <-oldSide.idle
	close(idle)
	oldSide.idle = idle
	if err := old.Run(); err != nil {
		t.Error(err)
	}
	if did := oldSide.did(); !strings.HasSuffix(did, "keep 10, keep 10") {
		t.Errorf("%s", did)
	}
}
