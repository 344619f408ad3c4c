package proxybench

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// MakeTrouble makes the named trouble for t until ctx ends. It writes "made" to w when it has begun in full.
func MakeTrouble(ctx context.Context, name string, t Target, w io.Writer) error {
	found, err := pick(Troubles, []string{name}, "trouble", func(t Trouble) string { return t.Name })
	if err != nil {
		return err
	}
	var acts atomic.Int64
	t.acts = &acts
	if found[0].make == nil {
		return fmt.Errorf("%s is no trouble that lasts", name)
	}
	if err := found[0].make(ctx, t); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(w, troubleMade)
	began, before := time.Now(), acts.Load()
	<-ctx.Done()
	_, _ = fmt.Fprintf(w, troubleActs, float64(acts.Load()-before)/time.Since(began).Seconds())
	return nil
}

// What a process that makes trouble prints: that it has begun in full, and how often a second it acted.
const (
	troubleMade = "made"
	troubleActs = "acted %f times a second\n"
)

// every runs f n times a second, each time on a goroutine of its own.
func every(ctx context.Context, n int, f func()) {
	go func() {
		tick := time.NewTicker(time.Second / time.Duration(n))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				go f()
			}
		}
	}()
}

// bigHeads sends heads that reach the limit and waits for the refusal.
func bigHeads(ctx context.Context, t Target) error {
	head := append([]byte("GET / HTTP/1.1\r\nHost: a\r\nX-Big: "), bytes.Repeat([]byte("x"), 66<<10)...)
	every(ctx, 100, func() {
		c, err := net.DialTimeout("tcp", t.Plain, time.Second)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(answerWait))
		_, _ = c.Write(head)
		_, _ = io.Copy(io.Discard, c)
		t.acts.Add(1)
	})
	return nil
}

func (t Target) shake() {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: answerWait}, Config: full()}
	if c, err := d.Dial("tcp", t.Secure); err == nil {
		t.acts.Add(1)
		_ = c.Close()
	}
}

func handshakesPaced(ctx context.Context, t Target) error {
	every(ctx, 500, t.shake)
	return nil
}

func handshakeFlood(ctx context.Context, t Target) error {
	for range 64 {
		go func() {
			for ctx.Err() == nil {
				t.shake()
			}
		}()
	}
	return nil
}

// stuckStreams asks for an answer that it does not read, and sends a body that nobody reads.
func stuckStreams(ctx context.Context, t Target) error {
	for _, request := range []string{
		"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n",
	} {
		c, err := net.DialTimeout("tcp", t.Plain, time.Second)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { _ = c.Close() })
		if _, err := io.WriteString(c, request); err != nil {
			return err
		}
		if request[0] == 'P' {
			go func() {
				block := make([]byte, 64<<10)
				for {
					if _, err := c.Write(block); err != nil {
						return
					}
				}
			}()
		}
	}
	return wait(ctx, 300*time.Millisecond) // until all windows are full
}

// silent opens connections on which nothing comes, and handshakes that stop half way.
func silent(ctx context.Context, t Target) error {
	const idle, half = 9000, 1000
	hello := clientHello()
	for i := range idle + half {
		c, err := net.DialTimeout("tcp", t.Secure, answerWait)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		context.AfterFunc(ctx, func() { _ = c.Close() })
		if i < half { // half of a ClientHello, or all of it and nothing after the answer
			n := len(hello) * (1 + i%2) / 2
			if _, err := c.Write(hello[:n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// goodClients returns how long the slowest of a few clients took for its handshake and its first answer.
func goodClients(addr string) (slowest time.Duration, err error) {
	r := &rush{addr: addr, patience: answerWait}
	for range 10 {
		r.visit(time.Now())
	}
	for _, v := range r.good {
		if v.took == 0 {
			return 0, errors.New("a good client had no answer")
		}
		slowest = max(slowest, v.took)
	}
	return slowest, nil
}

// ServeH2Origin serves /small, a /big answer of 100 MiB, and /sink, which reads nothing, by HTTP/1 and HTTP/2 without
// TLS until ctx ends.
func ServeH2Origin(ctx context.Context, listen string) error {
	s := &http.Server{Addr: listen, ReadHeaderTimeout: answerWait, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	small := bytes.Repeat([]byte("x"), 128)
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			w.Header().Set("Content-Length", strconv.Itoa(100<<20))
			block := make([]byte, 64<<10)
			for range 100 << 20 / len(block) {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		case "/sink":
			<-r.Context().Done()
		default:
			_, _ = w.Write(small)
		}
	})
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}
