package tlsconn_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"testing"

	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// Over real sockets, client included: what an echo costs both ends.
func BenchmarkEcho_warm(b *testing.B) {
	for _, n := range []int{128, 16 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := newHouse(b, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, echoes)
			c := v.dial(clientConfig())
			p := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(p); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Client included: about half of it is ours.
func BenchmarkHandshake(b *testing.B) {
	for _, group := range []tls.CurveID{tls.X25519, tls.X25519MLKEM768} {
		for _, resumed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%v/resumed=%v", group, resumed), func(b *testing.B) {
				v := newHouse(b, tlsconn.HandshakerOptions{}).serve(tlsconn.ServerOptions{}, echoes)
				o := clientConfig()
				o.CurvePreferences = []tls.CurveID{group}
				if resumed {
					o.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				}
				p := make([]byte, 1)
				b.ReportAllocs()
				for b.Loop() {
					c, err := tls.Dial("tcp", v.addr, o)
					if err != nil {
						b.Fatal(err)
					}
					c.Write(p)
					io.ReadFull(c, p)
					c.Close()
				}
				if s := v.hs.Stats(); resumed && s.Resumed+1 < s.Done {
					b.Fatalf("%+v", s)
				}
			})
		}
	}
}

// As BenchmarkHandshake, over QUIC.
func BenchmarkHandshakeQUIC(b *testing.B) {
	for _, group := range []tls.CurveID{tls.X25519, tls.X25519MLKEM768} {
		for _, resumed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%v/resumed=%v", group, resumed), func(b *testing.B) {
				v := newQUICHouse(b, tlsconn.HandshakerOptions{}, tlsconn.ServerOptions{}, nops)
				o := quicClientConfig()
				o.CurvePreferences = []tls.CurveID{group}
				if resumed {
					o.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				}
				b.ReportAllocs()
				for b.Loop() {
					c := v.dial(o)
					c.exchange("x")
					c.Leave(0)
				}
				if s := v.hs.Stats(); resumed && s.Resumed+1 < s.Done {
					b.Fatalf("%+v", s)
				}
			})
		}
	}
}
