package supervisor

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The program of the tests plays all parts: Run starts the program that runs. The part is its one argument.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		if part := parts[os.Args[1]]; part != nil {
			os.Exit(part())
		}
	}
	os.Exit(m.Run())
}

var parts map[string]func() int

func init() {
	parts = map[string]func() int{
		"parent":   func() int { return runs("old") },
		"parent-k": func() int { return runs("waiting") },
		"old":      playOld,
		"new":      playNew,
		"waiting":  playWaiting,
	}
}

func runs(part string) int {
	code, err := Run([]string{part})
	if err != nil {
		fmt.Println(err)
		return 99
	}
	return code
}

// begins starts a child that plays a part.
func begins(part string) int {
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], part},
		&os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}, Env: os.Environ()})
	if err != nil {
		fmt.Println(err)
		os.Exit(98)
	}
	return p.Pid
}

// playOld is a process that an upgrade replaces. It ends at once: that it names the next one is hardly heard before.
func playOld() int {
	orphan := begins("waiting")
	next := begins("new")
	to := os.Getenv("NOTIFY_SOCKET")
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: to, Net: "unixgram"})
	if err != nil {
		fmt.Println(err)
		return 97
	}
	fmt.Fprintf(conn, "STATUS=moves\nMAINPID=%d\n", next)
	fmt.Printf("old %d new %d orphan %d\n", os.Getpid(), next, orphan)
	return 3
}

// playNew ends with 7 on SIGTERM.
func playNew() int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM)
	fmt.Println("new is ready")
	for sig := range signals {
		fmt.Println("new got", sig)
		if sig == syscall.SIGTERM {
			break
		}
	}
	return 7
}

// playWaiting waits for its end.
func playWaiting() int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	fmt.Println("waiting", os.Getpid())
	<-signals
	return 5
}

func gone(pid string) func() bool {
	return func() bool {
		_, err := os.Stat(filepath.Join("/proc", pid))
		return os.IsNotExist(err)
	}
}

// Signals go to the process that the service names, the end is its end, and what has no parent any more is collected.
// The supervisor above hears all but which process that is.
func TestRun_followsTheService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "above")
	above, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer above.Close()
	for range 5 {
		p := testutil.Start(t, testutil.Command{Path: os.Args[0], Args: []string{"parent"},
			Env: []string{"NOTIFY_SOCKET=" + path}})
		pids := p.WaitLine(`old (\d+) new (\d+) orphan (\d+)`)
		p.WaitLine("new is ready")
		p.WaitLine("waiting " + pids[3])
		testutil.Eventually(t, testutil.Minutes, gone(pids[1]), "the old one is collected")
		text := make([]byte, 256)
		_ = above.SetReadDeadline(time.Now().Add(testutil.Patience))
		if n, err := above.Read(text); err != nil || string(text[:n]) != "STATUS=moves\n" {
			t.Fatalf("%q %v", text[:n], err)
		}
		for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
			p.Signal(sig)
			p.WaitLine("new got " + sig.String())
		}
		orphan, _ := strconv.Atoi(pids[3])
		_ = syscall.Kill(orphan, syscall.SIGUSR1)
		testutil.Eventually(t, testutil.Minutes, gone(pids[3]), "the orphan is collected")
		if code := p.Stop(); code != 7 {
			t.Fatalf("exit code %d", code)
		}
	}
}

// A service that a signal ends gives the exit code that a shell would.
func TestRun_killedService(t *testing.T) {
	p := testutil.Start(t, testutil.Command{Path: os.Args[0], Args: []string{"parent-k"}})
	pid, _ := strconv.Atoi(p.WaitLine(`waiting (\d+)`)[1])
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := p.Wait(testutil.Minutes); code != 137 {
		t.Errorf("exit code %d", code)
	}
}

func TestSplit(t *testing.T) {
	for text, want := range map[string]struct {
		pid  int
		rest string
	}{
		"READY=1\nSTATUS=a\n":       {0, "READY=1\nSTATUS=a\n"},
		"MAINPID=12\n":              {12, ""},
		"A=1\nMAINPID=12\nB=2":      {12, "A=1\nB=2"},
		"MAINPID=-1\n":              {0, ""},
		"MAINPID=x\nSTATUS=a\n":     {0, "STATUS=a\n"},
		endText:                     {last, ""},
		strings.Repeat("X=1\n", 99): {0, strings.Repeat("X=1\n", 99)},
	} {
		if pid, rest := split(text); pid != want.pid || rest != want.rest {
			t.Errorf("%q: %d %q", text, pid, rest)
		}
	}
}
