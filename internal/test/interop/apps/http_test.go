//go:build apps

package apps

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// request is what a way is asked. Without a method it is GET.
type request struct {
	method string
	path   string
	fields []string // names and values in turn
	body   io.Reader
}

// chunked is a body whose length is not told.
func chunked(body []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(body)} }

// reply is an answer that has come whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// get asks for a path and tells the answer.
func get(path string, fields ...string) func(t *testing.T, w *way) string {
	return func(t *testing.T, w *way) string {
		return w.do(t, request{path: path, fields: fields}).tell(w)
	}
}

// send sends r and returns the answer when its head is there.
func (w *way) send(t *testing.T, r request) (*http.Response, error) {
	t.Helper()
	if r.method == "" {
		r.method = http.MethodGet
	}
	url := w.url + r.path
	if strings.HasPrefix(r.path, "http") {
		url = r.path
	}
	req, err := http.NewRequestWithContext(t.Context(), r.method, url, r.body)
	testutil.Must(t, err)
	for pair := range slices.Chunk(r.fields, 2) {
		if pair[0] == "Host" {
			req.Host = pair[1]
		} else {
			req.Header.Add(pair[0], pair[1])
		}
	}
	return w.client.Do(req)
}

// do sends r and waits for the whole answer.
func (w *way) do(t *testing.T, r request) *reply {
	t.Helper()
	resp, err := w.send(t, r)
	testutil.Must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s after %d bytes of the body: %v", r.method, r.path, len(body), err)
	}
	if w.h2 != (resp.ProtoMajor == 2) {
		t.Errorf("the answer came by %s", resp.Proto)
	}
	return &reply{resp.StatusCode, resp.Header, body}
}

// ofWay are the fields that say how an answer came, or when: they may differ.
var ofWay = []string{"Connection", "Date", "Keep-Alive", "Transfer-Encoding", "Via"}

// tell writes down an answer: its status, its fields but those of the way and those named, its body or the sum of it.
func (r *reply) tell(w *way, but ...string) string {
	var out strings.Builder
	fmt.Fprintln(&out, r.status)
	for _, name := range slices.Sorted(maps.Keys(r.header)) {
		if !slices.Contains(ofWay, name) && !slices.Contains(but, name) {
			fmt.Fprintf(&out, "%s: %s\n", name, strings.Join(r.header[name], "; "))
		}
	}
	text := w.mask(string(r.body))
	if len(text) < 2048 && utf8.ValidString(text) {
		return out.String() + text
	}
	return out.String() + sum([]byte(text))
}

// sum stands for a body that is too long to be shown.
func sum(body []byte) string { return fmt.Sprintf("%d bytes, %x", len(body), sha256.Sum256(body)) }

// fileForm is a form with a file of 30 MB, and its type.
func fileForm() (*bytes.Buffer, string) {
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	_ = m.WriteField("title", "a file") // a buffer takes it all
	file, _ := m.CreateFormFile("file", "noise.bin")
	_, _ = file.Write(noise(30e6, 3))
	_ = m.Close()
	return &form, m.FormDataContentType()
}

// noise is bytes without a pattern, the same ones for the same seed.
func noise(n int, seed byte) []byte {
	block, out := sha256.Sum256([]byte{seed}), make([]byte, 0, n+sha256.Size)
	for len(out) < n {
		out = append(out, block[:]...)
		block = sha256.Sum256(block[:])
	}
	return out[:n]
}
