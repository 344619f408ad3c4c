package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/server/admin"
)

// manyRoutes is a configuration with 10 000 routes and 1 000 upstreams. version differs in one of each.
func manyRoutes(version int) string {
	var b strings.Builder
	b.WriteString("[http]\nlisten = \"127.0.0.1:0\"\n[log]\noutput = []\n")
	b.WriteString("[[routes]]\nname = \"ok\"\npattern = \"/ok\"\ndest = \"status:204\"\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "[upstreams.u%d]\nbackends = [{ address = \"127.0.0.1:%d\" }]\n", i, 20000+i+first(i, version))
	}
	for i := range 10_000 {
		fmt.Fprintf(&b, "[[routes]]\nname = \"r%d\"\npattern = \"h%d.example.com/p%d/*\"\ndest = \"u%d\"\n",
			i, i%500, i+first(i, version), i%1000)
	}
	return b.String()
}

// first returns 20 000 and version for the first of many, 0 for others.
func first(i, version int) int {
	if i == 0 {
		return 20_000 + version
	}
	return 0
}

// A reload of a large configuration takes little time, and clients do not notice it.
func TestReload_clientsOfALargeOne(t *testing.T) {
	slow(t)
	r, socket := administered(t, "%s", manyRoutes(0))
	end, ended := make(chan bool), make(chan times)
	go func() {
		var all times
		defer func() { ended <- all }()
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for {
			select {
			case <-end:
				return
			case <-time.After(200 * time.Microsecond):
			}
			begun := time.Now()
			_, _ = io.WriteString(c, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 204 {
				t.Error(resp, err)
				return
			}
			all = append(all, time.Since(begun))
		}
	}()
	var longest time.Duration
	for i := range 10 {
		putFile(t, r.file, "[admin]\nlisten = %q\n%s", "unix:"+socket, manyRoutes(i+1))
		begun := time.Now()
		if status := askAdmin(t, socket, "POST", "/v1/reload", "", new(admin.Reloaded)); status != 200 {
			t.Fatalf("reload: %d", status)
		}
		longest = max(longest, time.Since(begun))
	}
	close(end)
	all := <-ended
	slices.Sort(all)
	t.Logf("the longest reload took %v; %v", longest, all)
}
