package interop

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// ngtcp2 finds a program of Debian's packages ngtcp2-client and ngtcp2-server.
func ngtcp2(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed: Debian's packages ngtcp2-client, ngtcp2-server", name)
	return ""
}

// ngtcp2 as the client of a server without HTTP/3: its request is refused, and it closes the connection.
func TestQUIC_ngtcp2Client(t *testing.T) {
	program := ngtcp2(t, "gtlsclient")
	const suites = "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:"
	for name, args := range map[string][]string{
		"plain":    nil,
		"aes256":   {suites + "+AES-256-GCM"},
		"chacha20": {suites + "+CHACHA20-POLY1305"},
		"lossy":    {"--tx-loss=0.1", "--rx-loss=0.1"},
		"update":   {"--key-update=20ms"},
	} {
		t.Run(name, func(t *testing.T) {
			config := quicServerTLS()
			config.NextProtos = []string{"h3"}
			links := make(chan *quicLink, 1)
			requests := make(chan *quicLane, 1)
			o := quic.Options{IdleTimeout: 2 * time.Second}
			p := newQUICPort(t, "127.0.0.1", config, o, func(l *quicLink) {
				l.onStream = func(x *quicLane) {
					if x.stream.ID == 0 {
						requests <- x
					}
				}
				links <- l
			})
			ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
			defer cancel()
			c := exec.CommandContext(ctx, program, append(args, "--exit-on-all-streams-close", "127.0.0.1",
				fmt.Sprint(p.addr().Port()), "https://a.test/")...)
			var out testutil.Output
			c.Stdout, c.Stderr = &out, &out
			testutil.Must(t, c.Start())
			l := <-links
			l.await(l.established, "the handshake")
			x := <-requests
			if name == "update" {
				testutil.Eventually(t, testutil.Patience, func() bool {
					return strings.Contains(out.String(), "key update")
				}, "ngtcp2 updates its keys")
			}
			const rejected, fine = 0x10b, 0x100 // of HTTP/3
			p.call(func() { l.conn.Reset(x.stream, rejected); l.conn.Stop(x.stream, fine) })
			k := l.end()
			lost := name == "lossy" && k.Err == quic.ErrIdle // its last datagram
			if err := c.Wait(); err != nil || !lost && (!k.ByPeer || !k.App || k.Code != fine) {
				t.Fatalf("%v, %+v\n%s", err, k, out.String())
			}
		})
	}
}

// ngtcp2 as the server: it answers a request for a number by so many bytes.
func TestQUIC_ngtcp2Server(t *testing.T) {
	program := ngtcp2(t, "gtlsserver")
	base := filepath.Join(t.TempDir(), "a")
	cert, key := testutil.NewAuthority(t).Issue(t, nil, "a.test")
	testutil.WritePair(t, base, cert, key)
	for name, args := range map[string][]string{"plain": nil, "lossy": {"--tx-loss=0.05", "--rx-loss=0.05"}} {
		t.Run(name, func(t *testing.T) {
			at := freePort(t)
			testutil.Start(t, testutil.Command{Path: program, Args: append(args, "-q", "127.0.0.1",
				fmt.Sprint(at.Port()), base+".key", base+".pem")})
			probe, err := net.Dial("udp", at.String())
			testutil.Must(t, err)
			testutil.Eventually(t, testutil.Patience, func() bool { // it speaks no such version, and says so
				_, _ = probe.Write(append([]byte("\xc0\x1a\x1a\x1a\x1a\x0812345678\x00"), make([]byte, 1200)...))
				_ = probe.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
				_, err := probe.Read(make([]byte, 1500))
				return err == nil
			}, "gtlsserver answers")
			_ = probe.Close()
			config := quicClientTLS()
			config.NextProtos = []string{"h3"}
			p := newQUICPort(t, "127.0.0.1", config, quic.Options{}, nil)
			l := p.connect(at)
			// A control stream with SETTINGS, and a request by the static table of QPACK.
			if _, err := l.open(quic.OneWay, []byte{0, 4, 0}, false); err != nil {
				t.Fatal(err)
			}
			const want = 1_000_000
			path := fmt.Sprintf("/%d", want)
			head := "\x00\x00\xd1\xd7\x50\x06a.test\x51" + string(rune(len(path))) + path
			x, err := l.open(quic.TwoWay, []byte("\x01"+string(rune(len(head)))+head), true)
			testutil.Must(t, err)
			l.await(x.over, "the answer")
			if len(x.got) < want || len(x.got) > want+want/100 || x.reset.Load() != 0 {
				t.Fatalf("%d bytes, %x, reset %x", len(x.got), x.got[:min(100, len(x.got))], x.reset.Load()-1)
			}
			p.call(func() { l.conn.Close(0x100); l.events() })
			testutil.Eventually(t, testutil.Patience, func() bool { return p.count.Load() == 0 }, "our end is over")
		})
	}
}
