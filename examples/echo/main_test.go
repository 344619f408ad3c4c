package main

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }

func TestEcho_answersAndDrains(t *testing.T) {
	p := testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./examples/echo"), Args: []string{"-listen", "127.0.0.1:0"},
	})
	c, err := net.Dial("tcp", p.WaitLine(`listening on (\S+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(testutil.Patience))
	sent := make([]byte, 4<<20) // more than every buffer on the way
	rand.Read(sent)
	go func() {
		c.Write(sent)
		c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
	if code := p.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
}
