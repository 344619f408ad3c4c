package registry

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// An answer without an end is a failure, not memory.
func TestClient_bounds(t *testing.T) {
	testutil.OnlyPlain(t)
	t.Parallel()
	at := serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		piece := []byte(strings.Repeat(" ", 1<<16))
		for q.Context().Err() == nil {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	r, err := NewClient([]string{"http://" + at}, ClientOptions{})
	testutil.Must(t, err)
	defer r.Close()
	var to any
	if _, err := r.Call(t.Context(), "GET", "/", nil, &to); err != ErrLong {
		t.Error(err)
	}
	s, err := r.Open(t.Context(), "GET", "/", nil)
	testutil.Must(t, err)
	defer s.Close()
	if err := s.Next(&to); err != ErrLong {
		t.Error(err)
	}
	if _, err := NewClient(nil, ClientOptions{CA: filepath.Join(t.TempDir(), "missing")}); !os.IsNotExist(err) {
		t.Error(err)
	}
}
