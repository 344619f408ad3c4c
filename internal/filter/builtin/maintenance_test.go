package builtin_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/warm"
	"github.com/edge-proxy/edge/proxy"
)

func maintenanceRig(t *testing.T, c *builtin.Maintenance) *filterrig.Rig {
	t.Helper()
	f := made(t, builtin.NewMaintenance, c, nil)
	return filterrig.New(t, f)
}

func TestMaintenance_answersWhileItIsOn(t *testing.T) {
	g := maintenanceRig(t, &builtin.Maintenance{
		On: true, Except: []string{"/healthz", "/live"}, RetryAfter: 90 * time.Second,
	})
	for name, client := range filterrig.Clients(t) {
		for path, want := range map[string]int{
			"/": 503, "/healthz": 200, "/%6cive?x": 200, "/healthz/x": 503, "/x/../healthz": 200, "/HEALTHZ": 503,
		} {
			resp, body := testutil.Get(t, client, g.URL+path)
			after := resp.Header.Get("Retry-After")
			if resp.StatusCode != want || want == 503 && (after != "90" || !strings.Contains(body, "503")) {
				t.Errorf("%s %s: %d, Retry-After %q, %s", name, path, resp.StatusCode, after, body)
			}
		}
	}
}

func TestMaintenance_answersWithItsOwnBody(t *testing.T) {
	g := maintenanceRig(t, &builtin.Maintenance{On: true, Body: "<p>later", Type: "text/html", Status: 502})
	resp, body := testutil.Get(t, filterrig.Clients(t)["HTTP/1"], g.URL)
	if resp.StatusCode != 502 || body != "<p>later" || resp.Header.Get("Content-Type") != "text/html" ||
		resp.Header.Get("Retry-After") != "300" {
		t.Error(resp.StatusCode, body, resp.Header)
	}
}

func TestMaintenance_letsOperatorsThrough(t *testing.T) {
	g := maintenanceRig(t, &builtin.Maintenance{On: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if resp, _ := testutil.Get(t, filterrig.Clients(t)["HTTP/1"], g.URL); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

// The first request after the configuration was loaded knows the file, and later ones learn that it is gone.
func TestMaintenance_obeysAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "closed")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g, client := maintenanceRig(t, &builtin.Maintenance{File: path}), filterrig.Clients(t)["HTTP/1"]
	if resp, _ := testutil.Get(t, client, g.URL); resp.StatusCode != 503 {
		t.Error(resp.Status)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		resp, _ := testutil.Get(t, client, g.URL)
		return resp.StatusCode == 200
	}, "the file is missed")
}

func TestNewMaintenance_refusesMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]*builtin.Maintenance{
		"never answer":        {},
		"is no path":          {On: true, Except: []string{"healthz"}},
		"cannot stand":        {On: true, Type: "a\nb"},
		"not a directory":     {File: filepath.Join(file, "closed")},
		"between 400 and 599": {On: true, Status: 200},
	} {
		_, err := filterrig.Made(builtin.NewMaintenance, c, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
	}
}

func TestMaintenance_isCounted(t *testing.T) {
	b := newBuild("closed", "maintenance")
	f := made(t, builtin.NewMaintenance, &builtin.Maintenance{On: true}, b)
	g := warm.New(t, warm.Small, &proxy.Listener{}, f)
	before := b.Counter("refused").Load()
	if g.Exchange(); b.Counter("refused").Load() != before+1 {
		t.Error(b.Counter("refused").Load())
	}
}

func ExampleMaintenance() {
	closed, err := filterrig.Made(builtin.NewMaintenance, &builtin.Maintenance{On: true, Body: "back at noon\n"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Filters: []*proxy.Filter{closed}, Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "welcome\n")},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	resp, err := http.Get("http://" + s.ListenAddr())
	if err != nil {
		log.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	fmt.Print(resp.StatusCode, " ", resp.Header.Get("Retry-After"), " ", string(body))
	http.DefaultClient.CloseIdleConnections()
	// Output: 503 300 back at noon
}
