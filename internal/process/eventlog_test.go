package process

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

func openLog(t *testing.T, path string) *eventLog {
	t.Helper()
	e, err := openEventLog(path, "info")
	testutil.Must(t, err)
	t.Cleanup(e.close)
	return e
}

// EDGE_LOG goes before log_level, at the start and after a reload. What is no level counts for nothing.
func TestEventLog_levelOfTheEnvironment(t *testing.T) {
	const warn = slog.LevelWarn
	for asked, want := range map[string]slog.Level{"debug": slog.LevelDebug, "loud": warn, "": warn} {
		t.Setenv("EDGE_LOG", asked)
		e := onStderr()
		if e.setLevel("warn"); e.level.Level() != want {
			t.Errorf("EDGE_LOG=%s: %v, want %v", asked, e.level.Level(), want)
		}
	}
}

func openOutput(t *testing.T, e *eventLog, path string) *eventOutput {
	t.Helper()
	o, err := e.open(path)
	testutil.Must(t, err)
	return o
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	testutil.Must(t, err)
	return string(b)
}

// pipe makes a named pipe that the test may read.
func pipe(t *testing.T) (path string, r *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "log")
	testutil.Must(t, syscall.Mkfifo(path, 0o600))
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	testutil.Must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return path, r
}

// overflow says things until one is dropped, and returns how many it said.
func overflow(e *eventLog, log *slog.Logger) (said int) {
	for ; e.missing().dropped == 0; said++ {
		log.Info("line "+strings.Repeat("x", said%7), "text", strings.Repeat("x", 4000))
	}
	return said
}

// What was said before a rotation is in the old file, the rest in the new one.
func TestEventLog_rotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	e := openLog(t, path)
	log := e.logger()
	for _, name := range []string{".1", ".2"} {
		log.Info("before" + name)
		testutil.Must(t, os.Rename(path, path+name))
		testutil.Must(t, e.reopen())
	}
	log.Info("last")
	e.close()
	for name, want := range map[string]string{".1": "before.1", ".2": "before.2", "": "last"} {
		if got := text(t, path+name); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"msg":"`+want+`"`) {
			t.Errorf("log%s holds %q, want %q", name, got, want)
		}
	}
}

// No line is lost or doubled while the file changes under those who write.
func TestEventLog_rotationWhileOthersWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	e := openLog(t, path)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var said [2]int
	for p := range said {
		wg.Go(func() {
			for ; ; said[p]++ {
				select {
				case <-stop:
					return
				default:
					_, _ = e.Write([]byte("line\n"))
				}
			}
		})
	}
	for range 50 {
		testutil.Must(t, e.reopen())
	}
	close(stop)
	wg.Wait()
	e.close()
	got, missing := strings.Count(text(t, path), "line\n"), e.missing()
	if got+int(missing.dropped) != said[0]+said[1] || missing.refused != 0 {
		t.Errorf("%d lines and %+v, want %d", got, missing, said)
	}
}

// A disk that is full costs lines. The file that comes after it says how many.
func TestEventLog_diskFull(t *testing.T) {
	e := openLog(t, "/dev/full")
	log := e.logger()
	for _, name := range []string{"a", "b", "c"} {
		log.Info(name)
		e.sync()
	}
	if got := e.missing(); got != (missing{refused: 3}) {
		t.Errorf("%+v, want 3 refused", got)
	}
	path := filepath.Join(t.TempDir(), "log")
	next := openOutput(t, e, path)
	e.use(next)
	log.Info("d")
	e.sync()
	got := text(t, path)
	if !strings.Contains(got, `lines of the error log are missing" output=/dev/full lines=3`) ||
		strings.Count(got, "\n") != 2 {
		t.Errorf("the next file holds %q", got)
	}
	if got := e.missing(); got != (missing{refused: 3}) {
		t.Errorf("%+v, want 3 refused", got)
	}
}

// A reader that goes away costs lines. The one that comes next is told.
func TestEventLog_readerGoesAndComes(t *testing.T) {
	path, r := pipe(t)
	e := openLog(t, path)
	log := e.logger()
	_ = r.Close()
	log.Info("nobody")
	e.sync()
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	testutil.Must(t, err)
	defer r.Close()
	log.Info("somebody")
	e.close()
	lines := bufio.NewScanner(r)
	told := `"dropped":0,"refused":1,"error":"write ` + path + `: broken pipe"`
	for _, want := range []string{`"msg":"somebody"`, told} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Errorf("got %q, want %s", lines.Text(), want)
		}
	}
}

// A pipe that nobody reads keeps neither another output nor the end of the process waiting for long. The other
// output says what is missing.
func TestEventLog_leavesAPipeThatHangs(t *testing.T) {
	t.Parallel()
	path, r := pipe(t)
	e := openLog(t, path)
	log := e.logger()
	said := overflow(e, log)
	file := filepath.Join(t.TempDir(), "log")
	next := openOutput(t, e, file)
	begun := time.Now()
	e.use(next)
	log.Info("here")
	e.sync()
	got := text(t, file)
	if d := time.Since(begun); d > testutil.Patience/2 {
		t.Errorf("it took %v", d)
	}
	took, err := io.ReadAll(r) // nobody writes to it any more
	testutil.Must(t, err)
	want := fmt.Sprintf(`"output":%q,"lines":%d}`, path, said-bytes.Count(took, []byte("\n")))
	if !strings.Contains(got, want) || !strings.Contains(got, `"msg":"here"`) {
		t.Errorf("the next file holds %s, want %s", got, want)
	}
}

func TestEventLog_reopensAPipeThatHangs(t *testing.T) {
	t.Parallel()
	path, r := pipe(t)
	e := openLog(t, path)
	log := e.logger()
	overflow(e, log)
	testutil.Must(t, e.reopen())
	log.Info("again")
	lines := bufio.NewScanner(r)
	for found := false; !found; {
		_ = r.SetReadDeadline(time.Now().Add(testutil.Patience))
		if !lines.Scan() {
			t.Fatalf("the pipe ends: %v", lines.Err())
		}
		found = strings.Contains(lines.Text(), `"msg":"again"`)
	}
}

// What is said after the end is said on stderr.
func TestEventLog_afterItsEnd(t *testing.T) {
	e := openLog(t, filepath.Join(t.TempDir(), "log"))
	var last bytes.Buffer
	e.last = observe.NewBounded(&last, testutil.Patience)
	e.close()
	e.logger().Info("late")
	if !strings.Contains(last.String(), `"msg":"late"`) {
		t.Errorf("stderr got %q", last.String())
	}
}

func TestEventLog_isCounted(t *testing.T) {
	t.Parallel()
	path, _ := pipe(t)
	e := openLog(t, path)
	var r observe.Registry
	e.register(&r)
	counter := func(name string) (value float64) {
		r.Each(func(s observe.Sample) {
			if s.Name == name {
				value += s.Value
			}
		})
		return value
	}
	overflow(e, e.logger())
	if n := counter("edge_error_log_dropped_total"); n < 1 {
		t.Errorf("%v dropped", n)
	}
	e.use(openOutput(t, e, "/dev/full"))
	e.logger().Info("lost")
	e.sync()
	if n := counter("edge_error_log_lost_total"); n < 1 {
		t.Errorf("%v lost", n)
	}
}

// nextFrom returns the next datagram.
func nextFrom(t *testing.T, c net.PacketConn) string {
	t.Helper()
	p := make([]byte, 8<<10)
	_ = c.SetReadDeadline(time.Now().Add(testutil.Patience))
	n, _, err := c.ReadFrom(p)
	testutil.Must(t, err)
	return string(p[:n])
}

// A syslog server as error_log: messages have the severities of their levels, and a reload leads them to a file and
// back.
func TestEventLog_syslog(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	testutil.Must(t, err)
	defer c.Close()
	next := func() string { return nextFrom(t, c) }
	target, file := "syslog+udp://"+c.LocalAddr().String(), filepath.Join(t.TempDir(), "log")
	e := openLog(t, target)
	log := e.logger()
	for line, write := range map[string]func(string, ...any){
		"<132>1 ": log.Warn, "<131>1 ": log.Error, "<134>1 ": log.Info,
	} {
		write("said", "by", line)
		if got := next(); !strings.HasPrefix(got, line) || !strings.Contains(got, ` event - {"time":`) {
			t.Errorf("%s is not %s", got, line)
		}
	}
	if err := e.reopen(); err != nil {
		t.Error(err)
	}
	e.use(openOutput(t, e, file))
	log.Info("in the file")
	e.use(openOutput(t, e, target))
	log.Info("with the server again")
	if got := next(); !strings.Contains(got, "again") || !strings.Contains(text(t, file), "in the file") {
		t.Errorf("%s, %s", got, text(t, file))
	}
}
