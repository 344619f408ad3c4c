//go:build apps

package apps

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// TestVite has its development server: modules as a browser asks for them, and their updates over a WebSocket.
func TestVite(t *testing.T) {
	a := begin(t, "Vite")
	dir := a.project("vite")
	a.versionIn(dir, "vite")
	// Each way has a module of its own: Vite passes over a change that comes soon after another to the same file.
	for i := range 5 {
		a.write(filepath.Join(dir, fmt.Sprintf("way-%d.js", i)), "export const greeting = 'hello';\n")
		a.write(filepath.Join(dir, fmt.Sprintf("main-way-%d.js", i)), fmt.Sprintf("import { greeting } from "+
			"'./way-%[1]d.js';\nimport.meta.hot.accept('./way-%[1]d.js', () => greeting);\n", i))
	}
	address := testutil.FreeAddr(t)
	host, port, _ := net.SplitHostPort(address)
	a.start(testutil.Command{
		Path: "node", Dir: dir,
		Args: []string{
			filepath.Join("node_modules", "vite", "bin", "vite.js"), "--host", host, "--port", port, "--strictPort",
		},
		Env: []string{"NO_COLOR=1"},
	}).WaitLine("ready in")
	a.frontAll(address)

	a.ask("the page", all, get("/"))
	a.ask("a page of the application", all, get("/any/path", "Accept", "text/html"))
	a.ask("a module", all, get("/main.js"))
	a.ask("a style sheet", all, get("/style.css", "Accept", "text/css"))
	a.ask("a style sheet as a module", all, get("/style.css?import"))
	a.ask("its client", all, func(t *testing.T, w *way) string {
		r := w.do(t, request{path: "/@vite/client"}) // it names the server's own address, by any way
		return fmt.Sprint(r.status, r.header.Get("Etag"), sum(r.body))
	})
	a.ask("a module that has not changed", all, conditional("/main.js", "Etag", "If-None-Match"))
	a.ask("a host that is not its own", all, get("/", "Host", "elsewhere.test"))
	a.ask("an update", h1, func(t *testing.T, w *way) string { return update(t, a, w, dir) })
}

// update changes a module and waits until the client hears of it and gets the new one.
func update(t *testing.T, a *app, w *way, dir string) string {
	m := regexp.MustCompile(`wsToken = "([^"]+)"`).FindSubmatch(w.do(t, request{path: "/@vite/client"}).body)
	if m == nil {
		t.Fatal("its client has no token")
	}
	w.do(t, request{path: "/main-" + w.slug + ".js"}) // what nobody has asked for is not updated
	w.do(t, request{path: "/" + w.slug + ".js"})
	ctx, cancel := context.WithTimeout(t.Context(), testutil.Patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, strings.Replace(w.url, "http", "ws", 1)+"/?token="+string(m[1]),
		&websocket.DialOptions{
			HTTPClient: w.client, Subprotocols: []string{"vite-hmr"}, HTTPHeader: http.Header{"Origin": {w.url}},
		})
	testutil.Must(t, err)
	defer c.CloseNow() //nolint:errcheck // it is over
	type message struct {
		Type    string `json:"type"`
		Updates []struct {
			Type, Path, AcceptedPath string
			Timestamp                int64
		} `json:"updates"`
	}
	for {
		_, text, err := c.Read(ctx)
		testutil.Must(t, err)
		var got message
		testutil.Must(t, json.Unmarshal(text, &got))
		switch got.Type {
		case "connected":
			a.write(filepath.Join(dir, w.slug+".js"), "export const greeting = 'hello again';\n")
		case "update":
			u := got.Updates[0]
			module := w.do(t, request{path: fmt.Sprintf("%s?t=%d", u.AcceptedPath, u.Timestamp)})
			line, _, _ := strings.Cut(string(module.body), "\n")
			return fmt.Sprintln(u.Type, u.Path, u.AcceptedPath, line)
		}
	}
}
