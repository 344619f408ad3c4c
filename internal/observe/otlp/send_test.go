package otlp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// script is a collector whose answers are written down: the last one for all further attempts.
type script struct {
	answers []string // a status, and after a space Retry-After; "dead"; "silent"
	at      []time.Duration
	began   time.Time
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	s.at = append(s.at, time.Since(s.began))
	says := s.answers[min(len(s.at), len(s.answers))-1]
	switch says {
	case "dead":
		return nil, errors.New("connection refused")
	case "silent":
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	status, after, _ := strings.Cut(says, " ")
	n, err := strconv.Atoi(status)
	h := http.Header{}
	if after != "" {
		h.Set("Retry-After", after)
	}
	return &http.Response{StatusCode: n, Header: h, Body: http.NoBody, Request: r}, err
}

// scripted returns an exporter to a script, and frames of n records.
func scripted(t *testing.T, n int, answers ...string) (e *Exporter, s *script, frames []byte) {
	e, frames = batchOf(t, Options{Signal: Traces}, n)
	s = &script{answers: answers, began: time.Now()}
	e.client.Transport = s
	return e, s, frames
}

func wantCounts(t *testing.T, e *Exporter, want Counts) {
	t.Helper()
	if got := e.Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

// What is sent again, when, and what is lost.
func TestExporter_repeats(t *testing.T) {
	for _, c := range []struct {
		name     string
		answers  []string
		records  int
		want     Counts
		attempts int
		min, max time.Duration // of the whole call
	}{
		{"taken", []string{"200"}, 3, Counts{Sent: 3}, 1, 0, 0},
		{"taken without content", []string{"204"}, 3, Counts{Sent: 3}, 1, 0, 0},
		{"two batches and a rest", []string{"200"}, 1100, Counts{Sent: 1100}, 3, 0, 0},
		{"503 once", []string{"503", "200"}, 2, Counts{Sent: 2}, 2, 750 * time.Millisecond, 1250 * time.Millisecond},
		{"502 and 504", []string{"502", "504", "200"}, 2, Counts{Sent: 2}, 3, 2250 * time.Millisecond,
			3750 * time.Millisecond},
		{"429 with Retry-After", []string{"429 7", "200"}, 2, Counts{Sent: 2}, 2, 7 * time.Second, 7 * time.Second},
		{"429 for an hour", []string{"429 3600"}, 600, Counts{Failed: 600}, 1, 0, 0},
		{"Retry-After that is none", []string{"503 soon", "200"}, 2, Counts{Sent: 2}, 2, 750 * time.Millisecond,
			1250 * time.Millisecond},
		{"400", []string{"400", "200"}, 600, Counts{Sent: 88, Failed: 512}, 2, 0, 0},
		{"a redirect", []string{"307"}, 2, Counts{Failed: 2}, 1, 0, 0},
		{"500", []string{"500"}, 2, Counts{Failed: 2}, 1, 0, 0},
		{"dead", []string{"dead"}, 1100, Counts{Failed: 1100}, 6, 23 * time.Second, time.Minute},
		{"silent", []string{"silent"}, 1100, Counts{Failed: 1100}, 4, 40 * time.Second, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			testutil.Bubble(t, func(t *testing.T) {
				e, s, frames := scripted(t, c.records, c.answers...)
				n, err := e.WriteRecords(frames)
				if n != len(frames) || (err == nil) != (c.want.Failed == 0) {
					t.Errorf("%d of %d, %v", n, len(frames), err)
				}
				wantCounts(t, e, c.want)
				took := time.Since(s.began)
				if few := len(s.at) < c.attempts; few || len(s.at) > c.attempts+1 || took < c.min || took > c.max {
					t.Errorf("%d attempts in %v: %v", len(s.at), took, s.at)
				}
			})
		})
	}
}

// A time that the collector names holds for the next call as well.
func TestExporter_obeysRetryAfterInTheNextCall(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		e, s, frames := scripted(t, 1, "429 90", "200")
		_, _ = e.WriteRecords(frames)
		time.Sleep(31 * time.Second) // of the bubble: the minute of the next call holds the end of the 90 s
		if _, err := e.WriteRecords(frames); err != nil {
			t.Error(err)
		}
		wantCounts(t, e, Counts{Sent: 1, Failed: 1})
		if len(s.at) != 2 || s.at[1] != 90*time.Second {
			t.Errorf("attempts at %v", s.at)
		}
	})
}

// Close ends a pause and a request at once, and what comes later is lost at once.
func TestExporter_closeEndsWaits(t *testing.T) {
	for _, how := range []string{"503", "dead", "silent"} {
		t.Run(how, func(t *testing.T) {
			testutil.Bubble(t, func(t *testing.T) {
				e, s, frames := scripted(t, 700, how)
				done := make(chan error)
				go func() {
					_, err := e.WriteRecords(frames)
					done <- err
				}()
				synctest.Wait()
				_ = e.Close()
				if err := <-done; !errors.Is(err, ErrClosed) || time.Since(s.began) > 0 {
					t.Errorf("%v after %v", err, time.Since(s.began))
				}
				if _, err := e.Write([]byte("late\n")); !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				wantCounts(t, e, Counts{Failed: 701})
			})
		})
	}
}

// A frame that is malformed is left to the Sink, which counts it; the records before it are sent.
func TestExporter_malformedFrame(t *testing.T) {
	e, s, frames := scripted(t, 3, "200")
	n, err := e.WriteRecords(append(frames, 9, 0, 0, 0, 1))
	if n != len(frames) || !errors.Is(err, observe.ErrFrame) || len(s.at) != 1 {
		t.Errorf("%d of %d, %v, %d requests", n, len(frames), err, len(s.at))
	}
	wantCounts(t, e, Counts{Sent: 3})
}

// dialled returns an exporter to a server of net/http or of raw connections.
func dialled(t *testing.T, address string, o Options) *Exporter {
	o.Endpoint = &url.URL{Scheme: "http", Host: address, Path: "/v1/traces"}
	o.Signal = Traces
	e := New(o)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// What real answers do to a batch of three.
func TestExporter_answers(t *testing.T) {
	partial := "\x0a\x09\x08\x02\x12\x05a bad"
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		want   Counts
		says   string
	}{
		{"HTML", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>")
		}, Counts{Failed: 3}, "HTML"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, Counts{Failed: 3}, "307"},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) {
			for p := make([]byte, 4096); ; {
				if _, err := w.Write(p); err != nil {
					return
				}
			}
		}, Counts{Failed: 3}, "64 KiB"},
		{"an answer before the body is read", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}, Counts{Failed: 3}, "413"},
		{"partial success", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			_, _ = io.WriteString(w, partial)
		}, Counts{Sent: 1, Rejected: 2}, "rejected 2 of 3 records: a bad"},
		{"more rejected than there are", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			_, _ = io.WriteString(w, "\x0a\x02\x08\x63")
		}, Counts{Rejected: 3}, "rejected 3"},
		{"a success that is malformed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			_, _ = io.WriteString(w, "\x0a\x63")
		}, Counts{Sent: 3}, ""},
		{"a status in protobuf", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "\x08\x03\x12\x08too much")
		}, Counts{Failed: 3}, "400 Bad Request: too much"},
	} {
		t.Run(c.name, func(t *testing.T) {
			testutil.CheckLeaks(t)
			var calls atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				c.answer(w, r)
			}))
			t.Cleanup(server.Close)
			e := dialled(t, server.Listener.Addr().String(), Options{})
			_, frames := batchOf(t, Options{Signal: Traces}, 3)
			n, err := e.WriteRecords(frames)
			says := ""
			if err != nil {
				says = err.Error()
			}
			if n != len(frames) || !strings.Contains(says, c.says) || (says == "") != (c.says == "") {
				t.Errorf("%d, %v", n, err)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("%d requests", n)
			}
			wantCounts(t, e, c.want)
		})
	}
}

// A collector that hangs, in each part of a request: Close ends it within 100 ms, and the records are counted.
func TestExporter_closeEndsRequests(t *testing.T) {
	read := func(c net.Conn, n int64) { _, _ = io.CopyN(io.Discard, c, n) }
	for _, s := range []struct {
		name  string
		serve func(c net.Conn)
	}{
		{"is silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{"reads nothing", func(net.Conn) {}},
		{"hangs up in a batch", func(c net.Conn) { read(c, 100); _ = c.Close() }},
		{"begins a head", func(c net.Conn) { read(c, 100); _, _ = io.WriteString(c, "HTTP/1.1 2") }},
		{"begins an answer", func(c net.Conn) {
			read(c, 100)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
		}},
	} {
		for _, o := range []Options{{}, {Gzip: true}, {GRPC: true}} {
			t.Run(s.name, func(t *testing.T) {
				reached := make(chan struct{}, 64)
				l := testutil.Serve(t, func(c net.Conn) {
					reached <- struct{}{}
					s.serve(c)
					_, _ = io.Copy(io.Discard, c)
				})
				e := dialled(t, l.Addr().String(), o)
				_, frames := batchOf(t, Options{Signal: Traces}, 1200)
				done := make(chan error, 1)
				go func() {
					_, err := e.WriteRecords(frames)
					done <- err
				}()
				<-reached
				closed := time.Now()
				_ = e.Close()
				if err := <-done; !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				if took := time.Since(closed); took > 100*time.Millisecond && !testutil.RaceOn {
					t.Errorf("ended after %v", took)
				}
				wantCounts(t, e, Counts{Failed: 1200})
			})
		}
	}
}

// A collector that breaks off gets the same batch again, whole.
func TestExporter_hangsUpThenTakes(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		e, frames := batchOf(t, Options{Signal: Traces}, 5)
		var bodies []string
		tries := 0
		e.client.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			tries++
			first := tries == 1
			go func() {
				if first {
					_, _ = io.CopyN(io.Discard, far, 300)
					_ = far.Close()
					return
				}
				var ended atomic.Bool
				_ = http.Serve(&oneConn{conn: far, ended: &ended}, http.HandlerFunc(
					func(w http.ResponseWriter, r *http.Request) {
						p, _ := io.ReadAll(r.Body)
						bodies = append(bodies, string(p))
						w.Header().Set("Connection", "close")
					}))
			}()
			return near, nil
		}
		if _, err := e.WriteRecords(frames); err != nil {
			t.Error(err)
		}
		_ = e.Close()
		synctest.Wait()
		want, _ := batchOf(t, Options{Signal: Traces}, 0)
		for range 5 {
			want.batch.appendSpans(browser())
		}
		if len(bodies) != 1 || bodies[0] != string(want.batch.finish()) {
			t.Errorf("%d bodies", len(bodies))
		}
		wantCounts(t, e, Counts{Sent: 5})
	})
}

// oneConn is a listener that has one connection.
type oneConn struct {
	conn  net.Conn
	ended *atomic.Bool
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.ended.Swap(true) {
		return nil, net.ErrClosed
	}
	return l.conn, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// Ping tells a collector from others, sends no record, and repeats nothing.
func TestExporter_ping(t *testing.T) {
	for _, o := range []Options{{}, {Gzip: true}} {
		var size atomic.Int64
		status := atomic.Int32{}
		status.Store(200)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, _ := io.ReadAll(r.Body)
			size.Add(int64(len(p)))
			if r.Header.Get("Content-Encoding") != "" || r.Header.Get("Content-Type") != "application/x-protobuf" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			w.WriteHeader(int(status.Load()))
		}))
		e := dialled(t, server.Listener.Addr().String(), o)
		if err := e.Ping(t.Context()); err != nil || size.Load() != 0 {
			t.Error(err, size.Load())
		}
		status.Store(503)
		if err := e.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
			t.Error(err)
		}
		server.Close()
		if err := e.Ping(t.Context()); err == nil {
			t.Error("a dead collector answered")
		}
		wantCounts(t, e, Counts{})
	}
}

// An answer of any bytes is read without a panic, and within its bounds.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("\x0a\x09\x08\x02\x12\x05a bad"))
	f.Add([]byte("\x08\x08\x12\x04busy" +
		"\x1a\x30\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x04\x0a\x02\x08\x05"))
	f.Add([]byte("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x09\x01\x02\x03\x04\x05\x06\x07\x08\x0d\x01\x02\x03\x04\x0b"))
	f.Fuzz(func(t *testing.T, p []byte) {
		a, s := partial(p), readStatus(p)
		if int64(a.rejected) < 0 || len(a.message) > 3*messageMax || len(s.message) > 3*messageMax || s.delay < 0 {
			t.Errorf("%+v, %+v", a, s)
		}
		_ = unframed(p)
	})
}
