package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// silentFolder makes a folder with a list of about a MiB, and a file of a MiB.
func silentFolder(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	testutil.Must(t, os.Mkdir(filepath.Join(dir, "many"), 0o755))
	for i := range 10_000 {
		name := filepath.Join(dir, "many", fmt.Sprintf("one-of-the-many-files-%05d.txt", i))
		putAs(t, name, 0o644, nil)
	}
	for name, size := range map[string]int{"large.bin": 1 << 20, "small.txt": 10} {
		putAs(t, filepath.Join(dir, name), 0o644, make([]byte, size))
	}
	return dir
}

// silentClients makes so many clients that send a request and read the first bytes of its answer alone. It returns
// these bytes, and how many clients got them.
func silentClients(t *testing.T, address, request string, clients int) (answers map[string]int) {
	t.Helper()
	small := net.Dialer{Timeout: testutil.Minutes, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if e := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		}); e != nil {
			return e
		}
		return err
	}}
	answers = map[string]int{}
	all := make(chan string, clients)
	for range clients {
		c, err := small.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return answers
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte(request)); err != nil {
			t.Error(err)
			return answers
		}
		_ = c.SetReadDeadline(time.Now().Add(testutil.Minutes))
		go func() {
			p := make([]byte, len("HTTP/1.1 200"))
			n, _ := io.ReadFull(c, p)
			all <- string(p[:n])
		}()
	}
	for range clients {
		answers[<-all]++
	}
	return answers
}

// slowestGet gets url until over is closed, some times at least, and returns the longest time that it took, and how
// many answers were 503.
func slowestGet(t *testing.T, url string, over <-chan map[string]int) (slowest time.Duration, refused int,
	answers map[string]int) {
	t.Helper()
	for n := 0; answers == nil || n < 20; n++ {
		began := time.Now()
		switch resp, _ := testutil.Get(t, http.DefaultClient, url); resp.StatusCode {
		case 200:
		case 503:
			refused++
		default:
			t.Errorf("another client gets %s", resp.Status)
		}
		slowest = max(slowest, time.Since(began))
		select {
		case answers = <-over:
		default:
		}
	}
	return slowest, refused, answers
}

// Clients that ask for what is made of files and do not read it take no more memory than the process may use. All are
// answered, and none keeps another client waiting. Of several ranges, a few requests may be refused where handlers run
// slower than clients come: 93 handlers and what they have written had the memory of an event loop, once.
func TestRun_memoryOfFiles(t *testing.T) {
	dir := silentFolder(t)
	for _, c := range []struct {
		name, target, fields string
		clients, refused     int // refused: at most
	}{
		{"list", "/many/", "", 120, 0},
		{"list as JSON", "/many/", "Accept: application/json\r\n", 120, 0},
		{"several ranges", "/large.bin", "Range: bytes=0-" + strings.Repeat(",0-", 98) + "\r\n", 1000, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, "memory_limit = \"64m\"\nhttp.listen = \"127.0.0.1:0\"\n"+
				"[destinations.site]\ntype = \"static\"\nroot = %q\nlisting = true\n"+
				"[[routes]]\npattern = \"/*\"\ndest = \"site\"\n", dir)
			over := make(chan map[string]int, 1)
			go func() {
				request := "GET " + c.target + " HTTP/1.1\r\nHost: a.test\r\n" + c.fields + "\r\n"
				over <- silentClients(t, p.addr, request, c.clients)
			}()
			slowest, others, answers := slowestGet(t, "http://"+p.addr+"/small.txt", over)
			refused := answers["HTTP/1.1 503"]
			if answers["HTTP/1.1 200"]+refused != c.clients || refused > c.refused || others > c.refused/10 {
				t.Errorf("answers: %v, and %d others are refused", answers, others)
			}
			peak := memoryOf(t, p.PID(), "VmHWM") >> 10
			t.Logf("%d MiB at most, the slowest other request took %s", peak, slowest)
			if peak > 86 && !testutil.RaceOn { // 10 % above the limit, and 16 MiB for the program
				t.Errorf("%d MiB of resident memory, want 86 at most", peak)
			}
			if slowest > testutil.Patience {
				t.Errorf("another request takes %s", slowest)
			}
		})
	}
}
