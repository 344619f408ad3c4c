package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

func TestUDPEcho_answers(t *testing.T) {
	p := testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./examples/udpecho"), Args: []string{"-listen", "127.0.0.1:0"},
	})
	at := p.WaitLine(`listening on (\S+)`)[1]
	for client := range 4 {
		c, err := net.Dial("udp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(testutil.Patience))
		buf := make([]byte, 4096)
		for i := range 20 { // one at a time: none of them is lost on the way
			s := strings.Repeat(fmt.Sprint(client, i), i)
			if _, err := c.Write([]byte(s)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(buf); err != nil || string(buf[:n]) != s {
				t.Fatalf("%q came back for %q: %v", buf[:n], s, err)
			}
		}
	}
	if code := p.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
}
