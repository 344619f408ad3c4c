//go:build apps

package apps

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestExpress(t *testing.T) {
	a := begin(t, "Express, socket.io")
	dir := a.project("express")
	a.versionIn(dir, "express")
	address := testutil.FreeAddr(t)
	host, port, _ := net.SplitHostPort(address)
	a.start(testutil.Command{
		Path: "node", Args: []string{"server.js", host, port}, Dir: dir, Env: []string{"NODE_ENV=production"},
	}).WaitLine("listening")
	a.frontAll(address)

	a.ask("a page that is not there", all, get("/nothing"))
	a.ask("an error", all, get("/throw"))
	a.ask("a redirect", all, get("/back"))
	a.ask("ETag", all, func(t *testing.T, w *way) string {
		tag := w.do(t, request{path: "/hints"}).header.Get("ETag")
		return w.do(t, request{path: "/hints", fields: []string{"If-None-Match", tag}}).tell(w)
	})
	a.ask("early hints", all, earlyHints)
	a.ask("events", all, events)
	a.ask("half an answer", all, halfAnswer)
	a.ask("upload of 30 MB", all, formUpload("/upload"))
	a.ask("chunked upload of 30 MB", all, chunkedFormUpload)
	a.ask("body without a form", all, func(t *testing.T, w *way) string {
		return w.do(t, request{method: "PUT", path: "/raw", body: chunked(noise(1e6, 1))}).tell(w) +
			w.do(t, request{method: "POST", path: "/raw", body: chunked(noise(5e6, 2))}).tell(w)
	})
	for _, transports := range []string{"polling", "websocket", "polling websocket"} {
		a.ask("socket.io by "+transports, h1, socketIO(dir, strings.Fields(transports)))
	}
	a.want("a socket that dies", "502", all, func(t *testing.T, w *way) string {
		return fmt.Sprint(w.do(t, request{path: "/die"}).status)
	})
	for _, w := range a.ways[1:] {
		only := func(o *way) bool { return o == w }
		a.want("who asks", fmt.Sprintf(
			`{"url":"{url}","name":"127.0.0.1","secure":%v,"ip":"127.0.0.1","ips":["127.0.0.1"]}`, w.tls,
		), only, func(t *testing.T, w *way) string {
			return w.mask(string(w.do(t, request{path: "/who", fields: []string{
				"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", "elsewhere.test",
			}}).body))
		})
		secure := ""
		if w.tls {
			secure = "; Secure"
		}
		a.want("cookies", `{"a":"1","b":"two words","c":""}`+"\n"+
			"session=a%20b%3Dc; Path=/; HttpOnly"+secure+"; SameSite=Lax\ntheme=dark; Path=/cookies", only,
			func(t *testing.T, w *way) string {
				r := w.do(t, request{path: "/cookies", fields: []string{"Cookie", "a=1; b=two%20words; c="}})
				return string(r.body) + "\n" + strings.Join(r.header["Set-Cookie"], "\n")
			})
	}
}

// earlyHints tells the fields of the interim answers, and the answer.
func earlyHints(t *testing.T, w *way) string {
	var hints strings.Builder
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			fmt.Fprintln(&hints, code, header["Link"])
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/hints", nil)
	testutil.Must(t, err)
	resp, err := w.client.Do(req)
	testutil.Must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || hints.Len() == 0 {
		t.Errorf("hints %q, %v", hints.String(), err)
	}
	return hints.String() + string(body)
}

// events has each event sent after the one before it has come, and leaves. The application has to notice; over HTTP/1
// by an event that nobody takes, since a FIN alone may be a half close.
func events(t *testing.T, w *way) string {
	resp, err := w.send(t, request{path: "/events/" + w.slug})
	testutil.Must(t, err)
	in, got := bufio.NewReader(resp.Body), resp.Header.Get("Content-Type")
	for i := range 5 {
		if i > 0 {
			w.do(t, request{method: "POST", path: fmt.Sprintf("/events/%s/%d", w.slug, i)})
		}
		for range 2 {
			line, err := in.ReadString('\n')
			testutil.Must(t, err)
			got += line
		}
	}
	resp.Body.Close()
	testutil.Eventually(t, testutil.Minutes, func() bool {
		w.do(t, request{method: "POST", path: fmt.Sprintf("/events/%s/last", w.slug)})
		return string(w.do(t, request{path: "/listeners/" + w.slug}).body) == "false"
	}, "the application has noticed that the client left")
	return got
}

// halfAnswer is cut: a client must not take it for whole.
func halfAnswer(t *testing.T, w *way) string {
	resp, err := w.send(t, request{path: "/half"})
	testutil.Must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %q, cut: %v", resp.StatusCode, body, err != nil)
}

// chunkedFormUpload sends a form with a file of 30 MB without its length.
func chunkedFormUpload(t *testing.T, w *way) string {
	form, kind := fileForm()
	return w.do(t, request{
		method: "POST", path: "/upload", body: chunked(form.Bytes()), fields: []string{"Content-Type", kind},
	}).tell(w)
}

// socketIO has the client of socket.io tell what it saw.
func socketIO(dir string, transports []string) func(t *testing.T, w *way) string {
	return func(t *testing.T, w *way) string {
		cmd := exec.CommandContext(t.Context(), "node", append([]string{"client.js", w.url}, transports...)...)
		cmd.Dir = filepath.Clean(dir)
		cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+w.ca)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
}
