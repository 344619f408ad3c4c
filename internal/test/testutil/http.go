package testutil

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// CloseServer closes s when the test ends. Close waits for handlers; after a failure CloseServer does not, because a
// handler may wait for a step that the test has not reached.
func CloseServer(t testing.TB, s *httptest.Server) {
	t.Cleanup(func() {
		if t.Failed() {
			go s.Close()
			return
		}
		s.Close()
	})
}

// H2C makes a client that speaks HTTP/2 alone, without TLS. Its connections are closed when the test ends.
func H2C(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: Patience}
}

// Do sends a request by c and returns its answer with the whole body.
func Do(t testing.TB, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(req)
	Must(t, err)
	defer resp.Body.Close() //nolint:errcheck // all of it was read, or the test has failed
	body, err := io.ReadAll(resp.Body)
	Must(t, err)
	return resp, string(body)
}

// Get is Do for a GET of url.
func Get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	Must(t, err)
	return Do(t, c, req)
}
