package fleet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/program/programtest"
	"github.com/edge-proxy/edge/session"
)

// parse returns the configuration of this folder with other addresses.
func fleet(t *testing.T, others ...string) string {
	t.Helper()
	others = append(others, "/var/lib/edge/usage.json", filepath.Join(t.TempDir(), "usage.json"))
	text, err := os.ReadFile("edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	others = append(others, ":8080", "127.0.0.1:0", ":8081", "127.0.0.1:0",
		":7007", "127.0.0.1:0",
		"\"stdout\", ", "", "10.0.0.9:5170", "127.0.0.1:1",
		"10.0.0.5/users.json", "127.0.0.1:1")
	return strings.NewReplacer(others...).Replace(string(text))
}

// serve serves a configuration on a free port.
func serve(t *testing.T, text string) (s *programtest.Server, address string) {
	t.Helper()
	s = programtest.Start(t, text)
	return s, "http://" + s.Addr(0)
}

// get asks for a path.
func get(t *testing.T, address, path string) (int, string) {
	t.Helper()
	where, err := url.JoinPath(address, path)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(where)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// The destination answers, and counts on over a reload.
func TestInfo(t *testing.T) {
	s, address := serve(t, fleet(t))
	var said struct {
		Region string
		Asked  int
	}
	for i, region := range []string{"eu-1", "eu-2"} {
		if i > 0 {
			if err := s.Reload(fleet(t, "eu-1", region)); err != nil {
				t.Fatal(err)
			}
		}
		status, body := get(t, address, "/info")
		if err := json.Unmarshal([]byte(body), &said); err != nil || status != 200 || said.Region != region ||
			said.Asked != i+1 {
			t.Errorf("%d %s, %v", status, body, err)
		}
	}
}

// The collector gets a line for each request, also after it has closed a connection.
func TestCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lines := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			_ = c.Close()
			lines <- line
		}
	}()
	_, address := serve(t, fleet(t, "10.0.0.9:5170", l.Addr().String()))
	deadline := time.Now().Add(20 * time.Second)
	for seen := 0; seen < 2; {
		get(t, address, "/info")
		select { // a line that was on its way to the closed connection is lost
		case line := <-lines:
			if seen++; !strings.Contains(line, `"path":"/info"`) {
				t.Fatalf("got %q", line)
			}
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d lines came", seen)
		}
	}
}

// The file has the bytes of both requests.
func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sums.json")
	_, address := serve(t, fleet(t, "/var/lib/edge/usage.json", file))
	_, one := get(t, address, "/info")
	_, two := get(t, address, "/info")
	want := fmt.Sprintf(`{"/info":%d}`, len(one)+len(two))
	deadline, got := time.Now().Add(20*time.Second), []byte(nil)
	for string(got) != want {
		if got, _ = os.ReadFile(file); time.Now().After(deadline) {
			t.Fatalf("%s, want %s", got, want)
		}
		runtime.Gosched()
	}
}

func TestCollectorConfig(t *testing.T) {
	if _, err := NewCollector(&CollectorConfig{Address: "here"}, nil); err == nil ||
		!strings.Contains(err.Error(), "write host:port") {
		t.Errorf("got %v", err)
	}
}

// Requests go to the first backend of the list, and to another one while that is down.
func TestPrimary(t *testing.T) {
	backend := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, name)
		}))
	}
	first, second := backend("first"), backend("second")
	defer second.Close()
	_, address := serve(t, fleet(t, "10.0.0.7:80", first.Listener.Addr().String(),
		"10.0.0.8:80", second.Listener.Addr().String()))
	for range 5 {
		if status, body := get(t, address, "/api/"); status != 200 || body != "first" {
			t.Errorf("got %d %s, want the first one", status, body)
		}
	}
	first.Close()
	if status, body := get(t, address, "/api/"); status != 200 || body != "second" {
		t.Errorf("got %d %s, want the second one", status, body)
	}
}

// The listener with the filter closes what it denies, and a reload changes that.
func TestDoor(t *testing.T) {
	s, _ := serve(t, fleet(t))
	address := func() string { return "http://" + s.Addr(1) }
	if status, _ := get(t, address(), "/info"); status != 200 {
		t.Errorf("got %d", status)
	}
	if err := s.Reload(fleet(t, "192.0.2.0/24", "127.0.0.0/8")); err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{}}
	if resp, err := c.Get(address() + "/info"); err == nil {
		resp.Body.Close()
		t.Errorf("got %d from an address that is denied", resp.StatusCode)
	}
	f, err := NewDoor(&DoorConfig{Names: []string{"a.example"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a.example": true, "b.example": false, "": false} {
		if got := f.Secure(session.ConnInfo{TLS: &session.Digest{ServerName: name}}); got != want {
			t.Errorf("%q passes: %v, want %v", name, got, want)
		}
	}
}

// The service greets and answers. A reload changes the greeting for new connections, and a connection that is open goes
// on; what was counted stays.
func TestPager(t *testing.T) {
	s, _ := serve(t, fleet(t))
	dial := func(greeting string) (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", s.Addr(2))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); line != greeting+"\n" {
			t.Fatalf("got %q, %v, want %q", line, err, greeting)
		}
		return c, r
	}
	one, lines := dial("hello")
	if err := s.Reload(fleet(t, "\"hello\"", "\"good day\"")); err != nil {
		t.Fatal(err)
	}
	other, _ := dial("good day")
	fmt.Fprint(one, "Ann\nBo")
	fmt.Fprint(one, "b\n")
	for _, want := range []string{"paged Ann\n", "paged Bob\n"} {
		if line, err := lines.ReadString('\n'); line != want {
			t.Errorf("got %q, %v, want %q", line, err, want)
		}
	}
	other.Close()
	if _, err := NewPager(nil, nil); err != nil {
		t.Error(err)
	}
}

// Requests go where the list leads, which is asked for again and again.
func TestDirectory(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "found")
	}))
	defer backend.Close()
	var asked atomic.Int32
	list := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintf(w, "[%q]", backend.Listener.Addr())
	}))
	defer list.Close()
	_, address := serve(t, fleet(t, "http://10.0.0.5/users.json\"", list.URL+"\"\nevery = \"20ms\""))
	for deadline := time.Now().Add(20 * time.Second); ; {
		if status, body := get(t, address, "/users/"); status == 200 && body == "found" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("asked %d times, and found nothing", asked.Load())
		}
	}
}
