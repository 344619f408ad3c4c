package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getsentry/sentry-go"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// fake is a Sentry that keeps what it is sent.
type fake struct {
	dsn string

	mu     sync.Mutex
	bodies []string
	events []sentry.Event
}

// newFake starts a fake. answer comes after what was sent was read; nil: it is 200.
func newFake(t *testing.T, answer http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.take(r); err != nil {
			t.Error(err)
		}
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	f.dsn = strings.Replace(s.URL, "http://", "http://key@", 1) + "/42"
	return f
}

// take reads an envelope, as Sentry describes it: a head, and for each item a head with its length and the item.
func (f *fake) take(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil // the client has ended
	}
	if !strings.Contains(r.Header.Get("X-Sentry-Auth"), "sentry_key=key") || r.URL.Path != "/api/42/envelope/" {
		return fmt.Errorf("%s %s", r.URL, r.Header)
	}
	parts := bytes.SplitN(body, []byte("\n"), 3)
	var item struct {
		Type   string
		Length int
	}
	if err := json.Unmarshal(parts[1], &item); err != nil || item.Type != "event" || len(parts) < 3 {
		return fmt.Errorf("%s: %v", body, err)
	}
	var e sentry.Event
	if err := json.Unmarshal(parts[2][:item.Length], &e); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies, f.events = append(f.bodies, string(body)), append(f.events, e)
	return nil
}

// wait returns the events, at least n of them, and the text of all.
func (f *fake) wait(t *testing.T, n int) (all []sentry.Event, text string) {
	t.Helper()
	testutil.Eventually(t, testutil.Minutes, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		all, text = f.events, strings.Join(f.bodies, "\n")
		return len(all) >= n
	}, "%d events come", n)
	return all, text
}
