package proxybench

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

const (
	connsMax      = 16384
	bodyMax       = 8 << 20
	copyBytes     = 32 << 10
	fastReadBytes = 16 << 10
	idleTimeout   = 5 * time.Minute
)

// ServeGoPeer runs the named Go proxy ("fasthttp", "nethttp") from listen to origin until ctx ends.
func ServeGoPeer(ctx context.Context, name, listen, origin string) error {
	l, err := listenDeferred(ctx, listen)
	if err != nil {
		return fmt.Errorf("listen %s: %w", listen, err)
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	switch name {
	case "fasthttp":
		err = newFastProxy(origin).Serve(l)
	case "nethttp":
		err = newStdProxy(origin).Serve(l)
	default:
		_ = l.Close()
		return fmt.Errorf("unknown Go peer %q", name)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// listenDeferred accepts as the other peers do: when there is something to read.
func listenDeferred(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1)
		})
		if err != nil {
			return err
		}
		return set
	}}
	return lc.Listen(ctx, "tcp4", addr)
}

// newFastProxy is fasthttp as its documentation has it for proxying: one HostClient, request and
// response objects passed through, names not normalised, nothing streamed.
func newFastProxy(origin string) *fasthttp.Server {
	client := &fasthttp.HostClient{
		Addr:                          origin,
		MaxConns:                      connsMax,
		MaxIdleConnDuration:           idleTimeout,
		ReadBufferSize:                fastReadBytes,
		NoDefaultUserAgentHeader:      true,
		DisableHeaderNamesNormalizing: true,
		DisablePathNormalizing:        true,
	}
	return &fasthttp.Server{
		Concurrency:                   connsMax,
		ReadBufferSize:                fastReadBytes,
		MaxRequestBodySize:            bodyMax,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		DisableHeaderNamesNormalizing: true,
		Logger:                        log.New(io.Discard, "", 0),
		Handler: func(ctx *fasthttp.RequestCtx) {
			req, resp := &ctx.Request, &ctx.Response
			req.Header.ResetConnectionClose()
			req.Header.Del("Connection")
			req.Header.Set("X-Forwarded-For", ctx.RemoteIP().String())
			if err := client.Do(req, resp); err != nil {
				ctx.Error("bad gateway", fasthttp.StatusBadGateway)
				return
			}
			resp.Header.Del("Connection")
		},
	}
}

// newStdProxy is httputil.ReverseProxy with a pool that keeps its connections and its buffers.
func newStdProxy(origin string) *http.Server {
	target := &url.URL{Scheme: "http", Host: origin}
	return &http.Server{
		ReadHeaderTimeout: idleTimeout,
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.SetXForwarded()
			},
			Transport: &http.Transport{
				MaxIdleConns:        connsMax,
				MaxIdleConnsPerHost: connsMax,
				IdleConnTimeout:     idleTimeout,
				DisableCompression:  true,
			},
			BufferPool: &bufferPool{sync.Pool{New: func() any { return new([copyBytes]byte) }}},
			ErrorLog:   log.New(io.Discard, "", 0),
		},
	}
}

// ServeQUICGo answers as the origin does over HTTP/3, by quic-go, until ctx ends.
func ServeQUICGo(ctx context.Context, listen, cert, key string) error {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	udp, err := net.ListenPacket("udp4", listen)
	if err != nil {
		return fmt.Errorf("listen %s: %w", listen, err)
	}
	small, large := bytes.Repeat([]byte("x"), smallBytes), bytes.Repeat([]byte("x"), 1<<20)
	s := &http3.Server{
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}}),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := small
			if r.URL.Path == largePath {
				body = large
			}
			_, _ = w.Write(body)
		}),
	}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	err = s.Serve(udp)
	_ = udp.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// bufferPool lends copy buffers. Safe for any goroutine.
type bufferPool struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte { return p.pool.Get().(*[copyBytes]byte)[:] }

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[copyBytes]byte)(b)) }
