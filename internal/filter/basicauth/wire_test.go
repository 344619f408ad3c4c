package basicauth_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/filter/basicauth"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// serve starts a proxy with a filter before an origin that answers with the field Authorization that it got.
func serve(t *testing.T, c *basicauth.Config) string {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"))
	}))
	t.Cleanup(origin.Close)
	f, err := filterrig.Made(basicauth.New, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	scope, err := variables.Scope(lang.Names{})
	if err != nil {
		t.Fatal(err)
	}
	user, err := scope.Template("{auth.user}", lang.Request)
	if err != nil {
		t.Fatal(err)
	}
	tells := &proxy.Filter{Response: func(x *proxy.Exchange) proxy.Verdict {
		x.Response.Set("X-User", string(user.Append(nil, proxy.View(x))))
		return proxy.Next
	}}
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{To: edge.Backends(origin.Listener.Addr().String()), Filters: []*proxy.Filter{f, tells}},
	}}
	return filterrig.Start(t, s)
}

// get asks as a user; "" is nobody.
func get(t *testing.T, url, user, password string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	return testutil.Do(t, http.DefaultClient, req)
}

// bcryptOfWord is of "wörd", with the least cost.
const bcryptOfWord = "$2a$04$DK2okXUPaqLmLtUxrvkqeerXspPtItY5sQGX2FBjHav3z7.2hXucK"

func TestFilter_asks(t *testing.T) {
	users := map[string]string{
		"ann": basicauth.CheapHash("pa:ss"), "bob": bcryptOfWord,
	}
	for name, c := range map[string]basicauth.Config{
		"remembered": {Users: users, Remember: time.Hour, Realm: `the "inner" \ circle`},
		"forwarded":  {Users: users, Remember: time.Hour, Forward: true},
		"each time":  {Users: users, Remember: time.Nanosecond},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, &c)
			for _, ask := range []struct {
				user, password string
				status         int
			}{
				{"", "", 401}, {"ann", "pa:ss", 200}, {"ann", "pa:ss", 200}, {"ann", "pa", 401}, {"bob", "wörd", 200},
				{"bob", "pa:ss", 401}, {"eve", "pa:ss", 401}, {"Ann", "pa:ss", 401}, {"ann", "", 401},
				{"ann", "pa:ss", 200},
			} {
				resp, body := get(t, url, ask.user, ask.password)
				if resp.StatusCode != ask.status {
					t.Errorf("%+v: %s", ask, resp.Status)
				}
				name := resp.Header.Get("X-User")
				if ask.status == 200 && name != ask.user || ask.status != 200 && name != "" {
					t.Errorf("%+v: auth.user is %q", ask, name)
				}
				challenge := resp.Header.Get("WWW-Authenticate")
				if want := `Basic realm="the \"inner\" \\ circle", charset="UTF-8"`; ask.status == 401 &&
					name == "remembered" && challenge != want {
					t.Errorf("%+v: %s", ask, challenge)
				}
				if ask.status == 200 && (body != "") != c.Forward || ask.status == 200 && challenge != "" {
					t.Errorf("%+v: the backend saw %q, the client %q", ask, body, challenge)
				}
			}
		})
	}
}

func TestFilter_manyAtOnce(t *testing.T) {
	url := serve(t, &basicauth.Config{Users: map[string]string{"ann": basicauth.CheapHash("secret")}})
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			password, want := "secret", 200
			if i%2 > 0 {
				password, want = "wrong", 401
			}
			if resp, _ := get(t, url, "ann", password); resp.StatusCode != want {
				t.Errorf("%s for %s", resp.Status, password)
			}
		})
	}
	group.Wait()
}

// Where too many passwords wait a request is refused at once, unless its password is remembered.
func TestFilter_busy(t *testing.T) {
	url := serve(t, &basicauth.Config{
		Users: map[string]string{"ann": basicauth.CheapHash("busy")}, Remember: time.Hour,
	})
	if resp, _ := get(t, url, "ann", "busy"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	basicauth.FillPool(t)
	for password, want := range map[string]string{"busy": "200 ", "wrong": "503 1", "": "503 1"} {
		resp, _ := get(t, url, "ann", password)
		if got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Retry-After")); got != want {
			t.Errorf("%q: %s", password, got)
		}
	}
}

func TestFilter_file(t *testing.T) {
	basicauth.LookOften(t)
	path := filepath.Join(t.TempDir(), "users")
	told, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	testutil.EventLog(t, slog.NewTextHandler(told, nil))
	logged := func() string {
		text, err := os.ReadFile(told.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	one, two := basicauth.CheapHash("one"), basicauth.CheapHash("two")
	write("ann:" + one + "\n")
	url := serve(t, &basicauth.Config{File: path, Remember: time.Hour})
	status := func(user, password string, want int) func() bool {
		return func() bool {
			resp, _ := get(t, url, user, password)
			return resp.StatusCode == want
		}
	}
	if !status("ann", "one", 200)() || !status("bob", "two", 401)() {
		t.Fatal("the file is not what it says")
	}
	write("# changed\nann:" + two + "\nbob:" + two + "\n")
	testutil.Eventually(t, testutil.Patience, status("bob", "two", 200), "a new user is let in")
	if !status("ann", "one", 401)() || !status("ann", "two", 200)() {
		t.Error("the old password is remembered")
	}
	write("ann:hunter2\n")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return status("ann", "two", 200)() && strings.Contains(logged(), "the users stay as they were")
	}, "a wrong file is reported")
	if !status("bob", "two", 200)() {
		t.Error("a wrong file changed the users")
	}
	write("bob:" + two + "\n")
	testutil.Eventually(t, testutil.Patience, status("ann", "two", 401), "a user is gone")
	if text := logged(); strings.Contains(text, "panic") || strings.Contains(text, "hunter2") ||
		strings.Count(text, "stay as they were") != 1 {
		t.Error(text)
	}
}

func TestNew_refuses(t *testing.T) {
	h := "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	wrong := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(wrong, []byte("\nann:hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]basicauth.Config{
		"neither":                 {},
		"one list":                {Users: map[string]string{"ann": h}, File: wrong},
		`user "ann"`:              {Users: map[string]string{"ann": "hunter2"}},
		`user "a:b"`:              {Users: map[string]string{"a:b": h}},
		wrong + `:2: user "ann"`:  {File: wrong},
		"no such file":            {File: wrong + ".none"},
		"not a regular file":      {File: t.TempDir()},
		"no printable character":  {Users: map[string]string{"ann": h}, Realm: "a\nb"},
		"no printable  character": {Users: map[string]string{"ann": h}, Realm: "wörld"},
	} {
		_, err := filterrig.Made(basicauth.New, &c, nil)
		if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "  ", " ")) {
			t.Errorf("%s: %v", want, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

// A request whose password is remembered goes on without a worker, and without an allocation.
func TestFilter_allocatesNothing(t *testing.T) {
	for _, forward := range []bool{false, true} {
		f, err := filterrig.Made(basicauth.New, &basicauth.Config{
			Users:    map[string]string{"ann": basicauth.CheapHash("secret")},
			Remember: time.Hour, Forward: forward,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		request := strings.Replace(warm.Browser, "\r\n", "\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n", 1)
		g := warm.New(t, request, &proxy.Listener{}, f)
		if n := testutil.Allocs(1000, g.Exchange); n != 0 {
			t.Errorf("forward %v: %v allocations", forward, n)
		}
	}
}

// The backend does not see the password of a user who was let in.
func Example() {
	hash, err := basicauth.Hash(basicauth.Argon2id, []byte("correct horse"))
	if err != nil {
		log.Fatal(err)
	}
	ask, err := filterrig.Made(basicauth.New, &basicauth.Config{Users: map[string]string{"ann": hash}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "welcome"), Filters: []*proxy.Filter{ask}},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	for _, user := range []string{"", "ann:guess@", "ann:correct%20horse@"} {
		resp, err := http.Get("http://" + user + s.ListenAddr())
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, resp.Header.Get("WWW-Authenticate"), strings.TrimSpace(string(body))[:7])
	}
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// 401 Basic realm="restricted", charset="UTF-8" 401 Una
	// 401 Basic realm="restricted", charset="UTF-8" 401 Una
	// 200  welcome
}
