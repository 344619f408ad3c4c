package battery

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Bounds of what one attack may cost, far above what it should.
const (
	floodFrames = 10_000
	floodHeads  = 1000        // requests of one attack that the origin may see
	floodTime   = time.Second // processor time of one attack
	floodMemory = 64 << 20
)

// residentBytes is the memory of a process.
func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	b := testutil.ReadFile(t, fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	n, err := strconv.Atoi(strings.Fields(rest)[21])
	testutil.Must(t, err)
	return n * os.Getpagesize()
}

// flood is one attack: it sends far more than any good client would.
type flood struct {
	name, rfc string
	make      func(s *scribe)
	codes     []http2.ErrCode // of GOAWAY; nil: the connection may also go on
}

// times writes n streams of the same kind.
func (s *scribe) times(n int, f func()) {
	for range n {
		f()
		s.stream += 2
	}
}

var calm = []http2.ErrCode{http2.ErrCodeEnhanceYourCalm}

func h2floods() []flood {
	get := h2base("GET")
	post := h2base("POST")
	open := func(s *scribe) { s.head(post, false) }
	made := func(f func(s *scribe)) func(s *scribe) {
		return func(s *scribe) { s.times(floodFrames, func() { f(s) }) }
	}
	repeat := func(before func(s *scribe), frame string) func(s *scribe) {
		return func(s *scribe) {
			if before != nil {
				before(s)
			}
			s.out.WriteString(strings.Repeat(frame, floodFrames))
		}
	}
	nothing := func(typ http2.FrameType, flags http2.Flags, stream uint32, payload string) func(s *scribe) {
		return repeat(nil, h2frame(typ, flags, stream, payload))
	}
	onStream := func(typ http2.FrameType, flags http2.Flags, payload string) func(s *scribe) {
		return repeat(open, h2frame(typ, flags, 1, payload))
	}
	return []flood{
		{"rapid reset", "9113 10.5", made(func(s *scribe) {
			s.head(get, true)
			s.frame(http2.FrameRSTStream, 0, be32(8))
		}), calm},
		{"rapid reset of open streams", "9113 10.5", made(func(s *scribe) {
			s.head(post, false)
			s.frame(http2.FrameRSTStream, 0, be32(8))
		}), calm},
		{"rapid reset in bodies", "9113 10.5", made(func(s *scribe) {
			s.head(post, false)
			s.frame(http2.FrameData, 0, "hello")
			s.frame(http2.FrameRSTStream, 0, be32(0))
		}), calm},
		{"made to reset by WINDOW_UPDATE of 0", "9113 6.9", made(func(s *scribe) {
			s.head(get, true)
			s.frame(http2.FrameWindowUpdate, 0, be32(0))
		}), calm},
		{"made to reset by WINDOW_UPDATE that overflows", "9113 6.9.1", made(func(s *scribe) {
			s.head(get, true)
			s.frame(http2.FrameWindowUpdate, 0, be32(1<<31-1))
		}), calm},
		{"made to reset by DATA behind the end", "9113 5.1", made(func(s *scribe) {
			s.head(get, true)
			s.frame(http2.FrameData, 1, "x")
		}), append(calm, http2.ErrCodeStreamClosed)},
		{"made to reset by a second head", "9113 5.1", made(func(s *scribe) {
			s.head(get, true)
			s.head(get, true)
		}), append(calm, http2.ErrCodeStreamClosed)},
		{"made to reset by PRIORITY of 4 bytes", "9113 6.3", made(func(s *scribe) {
			s.head(get, true)
			s.frame(http2.FramePriority, 0, "1234")
		}), append(calm, http2.ErrCodeFrameSize)},
		{"made to reset by a stream that depends on itself", "9113 5.3.1", made(func(s *scribe) {
			s.head(get, true)
			s.frame(http2.FramePriority, 0, be32(s.stream)+"\x10")
		}), calm},
		{"made to reset by upper case", "9113 8.2.1", made(func(s *scribe) { s.head(get.plus("X", "y"), true) }), calm},
		{"made to reset by a length", "9113 8.1.1", made(func(s *scribe) {
			s.head(post.plus("content-length", "1"), false)
			s.frame(http2.FrameData, 1, "xx")
		}), calm},
		{"made to reset by trailers", "9113 8.1", made(func(s *scribe) {
			s.head(post, false)
			s.head(h2pairs(":path", "/"), true)
		}), calm},
		{"made to refuse", "9113 5.1.2", made(func(s *scribe) { s.head(post, false) }), calm},
		{"CONTINUATION without content", "9113 10.5", repeat(func(s *scribe) {
			s.frame(http2.FrameHeaders, 1, s.encode(get))
		}, h2frame(http2.FrameContinuation, 0, 1, "")), calm},
		{"CONTINUATION byte by byte", "9113 10.5", repeat(func(s *scribe) {
			s.frame(http2.FrameHeaders, 1, s.encode(get)+"\x00"+hpackString("x")+hpackInt(7, 0, 100000))
		}, h2frame(http2.FrameContinuation, 0, 1, "v")), calm},
		{"CONTINUATION of 16 KiB", "9113 10.5", func(s *scribe) {
			s.frame(http2.FrameHeaders, 1, s.encode(get))
			field := "\x00" + hpackString("x") + hpackString(strings.Repeat("v", 16000))
			s.out.WriteString(strings.Repeat(h2frame(http2.FrameContinuation, 0, 1, field), 600))
		}, calm},
		{"an HPACK bomb", "7541 7.3", func(s *scribe) {
			block := s.encode(get) + "\x40" + hpackString("x") + hpackString(strings.Repeat("v", 3900))
			s.frame(http2.FrameHeaders, 5, block+strings.Repeat("\xbe", 12000))
		}, calm},
		{"HPACK bombs", "7541 7.3", func(s *scribe) {
			s.frame(http2.FrameHeaders, 5, s.encode(get)+"\x40"+hpackString("x")+hpackString(strings.Repeat("v", 3900)))
			s.stream += 2
			s.literal = true
			s.times(1000, func() { s.frame(http2.FrameHeaders, 5, s.encode(get)+strings.Repeat("\xbe", 9)) })
		}, calm},
		{"a table that is filled again and again", "7541 7.3", made(func(s *scribe) {
			s.head(get.plus(fmt.Sprintf("x-%d", s.stream), strings.Repeat("v", 400)), true)
			s.frame(http2.FrameRSTStream, 0, be32(8))
		}), calm},
		{"SETTINGS", "9113 10.5", nothing(http2.FrameSettings, 0, 0, ""), calm},
		{"SETTINGS with a window", "9113 10.5", repeat(open, h2frame(http2.FrameSettings, 0, 0, h2setting(4, 1))+
			h2frame(http2.FrameSettings, 0, 0, h2setting(4, 65535))), calm},
		{"SETTINGS with a table", "9113 10.5", nothing(http2.FrameSettings, 0, 0, h2setting(1, 0)), calm},
		{"SETTINGS ACK", "9113 6.5.3", nothing(http2.FrameSettings, 1, 0, ""),
			append(calm, http2.ErrCodeProtocol)},
		{"PING", "9113 10.5", nothing(http2.FramePing, 0, 0, "12345678"), calm},
		{"PRIORITY", "9113 10.5", nothing(http2.FramePriority, 0, 7, "\x00\x00\x00\x01\x10"), calm},
		{"PRIORITY_UPDATE", "9218 7.1", nothing(0x10, 0, 0, be32(7)+"u=1"), calm},
		{"WINDOW_UPDATE of the connection", "9113 10.5", nothing(http2.FrameWindowUpdate, 0, 0, be32(1)), calm},
		{"WINDOW_UPDATE of a stream", "9113 10.5", onStream(http2.FrameWindowUpdate, 0, be32(1)), calm},
		{"DATA without content", "9113 10.5", onStream(http2.FrameData, 0, ""), calm},
		{"DATA of padding alone", "9113 10.5", onStream(http2.FrameData, 8, "\x01\x00"), calm},
		{"heads without content", "9113 10.5", made(func(s *scribe) { s.frame(http2.FrameHeaders, 5, "") }), calm},
		{"unknown frames", "9113 10.5", nothing(0xfa, 0, 0, ""), nil},
		{"GOAWAY", "9113 6.8", nothing(http2.FrameGoAway, 0, 0, be32(0)+be32(0)), nil},
		{"frames on a closed stream", "9113 5.1", repeat(func(s *scribe) {
			s.head(post, false)
			s.frame(http2.FrameRSTStream, 0, be32(8))
		}, h2frame(http2.FrameWindowUpdate, 0, 1, be32(1))), calm},
		{"DATA on a closed stream", "9113 5.1", repeat(func(s *scribe) {
			s.head(post, false)
			s.frame(http2.FrameRSTStream, 0, be32(8))
		}, h2frame(http2.FrameData, 0, 1, "")), append(calm, http2.ErrCodeStreamClosed)},
	}
}

// Attacks over real sockets, each beside a good client: the connection ends with the right code, few requests come to
// the origin, and neither memory nor processor time grows with the number of frames.
func TestBatteryH2_floods(t *testing.T) {
	testutil.Binary(t, "./cmd/edge")
	for _, o := range h2origins {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			l := newH2Lane(t, o.make(t), "")
			victim := func(id string) error { return h2victim(t, l.edge, id) }
			l.boundMemory(t, victim, func() {
				for _, f := range h2floods() {
					t.Run(f.name, func(t *testing.T) {
						if f.rfc == "" {
							t.Error("no section")
						}
						l.attack(t, victim, func(id string) { l.flood(t, &f, id) })
					})
				}
			})
		})
	}
}

// boundMemory runs attacks, and fails when the process has grown by them.
func (l *h2lane) boundMemory(t *testing.T, victim func(id string) error, attacks func()) {
	t.Helper()
	testutil.Must(t, victim("warm"))
	l.record(t)
	base := residentBytes(t, l.PID())
	attacks()
	grown := residentBytes(t, l.PID()) - base
	if t.Logf("the process has grown by %d MiB", grown>>20); grown > floodMemory {
		t.Error("that is too much")
	}
}

// attack runs an attack beside a good client, and holds what it costs the process and the origin against the bounds.
func (l *h2lane) attack(t *testing.T, victim func(id string) error, run func(id string)) {
	t.Helper()
	l.n++
	id := fmt.Sprintf("f%d", l.n)
	stop, good := make(chan bool), make(chan error, 1)
	go func() { good <- l.goodClient(id, stop) }()
	used := cpuTime(t, l.PID())
	run(id)
	used = cpuTime(t, l.PID()) - used
	close(stop)
	if err := <-good; err != nil {
		t.Errorf("the good client: %v", err)
	}
	if used > floodTime {
		t.Errorf("%v of processor time", used)
	}
	if err := victim(id); err != nil {
		t.Error(err)
	}
	r := l.record(t)
	heads := r.heads - strings.Count(strings.Join(r.targets(), " ")+" ", "/good-"+id+" ")
	if heads > floodHeads || r.wrong != nil {
		t.Errorf("the origin saw %d requests, %q", heads, r.wrong[:min(len(r.wrong), 3)])
	}
	t.Logf("%d heads at the origin, %v of processor time", heads, used)
}

func (l *h2lane) flood(t *testing.T, f *flood, id string) {
	t.Helper()
	s := newScribe(id, false)
	s.out.WriteString(h2preface + h2frame(http2.FrameSettings, 0, 0, ""))
	f.make(s)
	c := h2dial(t, l.edge)
	sent := c.send([]string{s.out.String()})
	if f.codes != nil {
		c.until(c.over)
	} else {
		<-sent
		if !c.over() {
			c.ping()
		}
	}
	c.Close()
	<-sent
	if f.codes != nil && (c.gone == nil || !slices.Contains(f.codes, *c.gone)) {
		t.Errorf("GOAWAY %v, want one of %v; then %v", c.gone, f.codes, c.end)
	}
	// RFC 9113 §5.4.2: further frames may be answered by further RST_STREAM.
	if c.wrong = slices.DeleteFunc(c.wrong, isSecondReset); len(c.wrong) > 0 {
		t.Errorf("edge sent what it must not: %q", c.wrong)
	}
	if o, is := l.recorder.(*h2origin); is {
		o.note(func() {
			if len(o.goaways) > 0 {
				t.Errorf("the origin, which others share, got GOAWAY with %v", o.goaways)
			}
			o.goaways = nil
		})
	}
}

func isSecondReset(s string) bool { return strings.HasSuffix(s, "was reset twice") }

// goodClient asks again and again, on a connection of HTTP/1. It pauses between requests: its own cost is not measured.
func (l *h2lane) goodClient(id string, stop chan bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	c1, err := net.Dial("tcp", l.edge)
	if err != nil {
		return err
	}
	defer c1.Close()
	for n := 0; ; n++ {
		if n > 0 {
			select {
			case <-stop:
				return nil
			case <-tick.C:
			}
		}
		c1.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c1, "GET /good-%s HTTP/1.1\r\n%s\r\n", id, host)
		h := listen(c1, "GET", 1)
		if len(h.answers) != 1 || h.answers[0].status() != 200 || h.answers[0].body != "/good-"+id {
			return fmt.Errorf("request %d got %s", n, h)
		}
	}
}

// bulk is an origin of HTTP/1 whose answers are large, and which counts what it could write.
func bulk(t *testing.T, size int) string {
	chunk := strings.Repeat("b", 64<<10)
	l := testutil.Serve(t, func(c net.Conn) {
		defer c.Close()
		c.(*net.TCPConn).SetWriteBuffer(64 << 10) // the kernel's memory is everybody's
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if request := string(buf[:n]); strings.HasPrefix(request, "GET /small") ||
				strings.HasPrefix(request, "GET /victim") {
				_, target, _ := strings.Cut(request, " ")
				target, _, _ = strings.Cut(target, " ")
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(target), target)
				continue
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
			for range size / len(chunk) {
				if _, err := io.WriteString(c, chunk); err != nil {
					return
				}
			}
		}
	})
	return backendAt(l.Addr().String())
}

// Answers that a client asks for and does not take stay at the origin: neither memory nor time is theirs.
func TestBatteryH2_neverRead(t *testing.T) {
	testutil.Binary(t, "./cmd/edge")
	const streams, size = 100, 2 << 20
	for _, a := range []struct {
		name, settings string
		window         uint32 // of the connection, beyond what it has
		reads          bool
		bytes          int // updates of a window by one byte
	}{
		{"no window", h2setting(4, 0), 0, true, 0},
		{"a window of the connection alone", h2setting(4, 1<<30), 0, true, 0},
		{"windows, and a socket that is not read", h2setting(4, 1<<30), 1 << 30, false, 0},
		{"a window of a byte", h2setting(4, 1), 1 << 30, true, 0},
		{"a window opened byte by byte", h2setting(4, 1), 1 << 30, true, floodFrames},
	} {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			p, addr := h2start(t, bulk(t, size), "")
			testutil.Must(t, h2victim(t, addr, "warm"))
			base := residentBytes(t, p.PID())
			c := h2dial(t, addr)
			c.mute = true
			s := newScribe("big", false)
			s.out.WriteString(h2preface + h2frame(http2.FrameSettings, 0, 0, a.settings))
			if a.window > 0 {
				s.out.WriteString(h2frame(http2.FrameWindowUpdate, 0, 0, be32(a.window)))
			}
			s.times(streams, func() { s.head(h2base("GET"), true) })
			io.WriteString(c, s.out.String())
			if a.reads {
				heads := 0
				c.until(func() bool {
					heads = 0
					for _, b := range c.answers {
						if b.status == 200 {
							heads++
						}
					}
					return heads == streams
				})
				if heads != streams {
					t.Errorf("%d of %d heads came: GOAWAY %v, %v", heads, streams, c.gone, c.end)
				}
			}
			if a.bytes > 0 {
				sent := c.send([]string{strings.Repeat(h2frame(http2.FrameWindowUpdate, 0, 1, be32(1)), a.bytes)})
				c.until(c.over)
				if c.gone == nil || *c.gone != http2.ErrCodeEnhanceYourCalm {
					t.Errorf("GOAWAY %v, %v", c.gone, c.end)
				}
				<-sent
			}
			used := cpuTime(t, p.PID())
			peak := 0
			for i := range 20 {
				testutil.Must(t, h2victim(t, addr, fmt.Sprint(i)))
				peak = max(peak, residentBytes(t, p.PID())-base)
			}
			used = cpuTime(t, p.PID()) - used
			if peak > floodMemory {
				t.Errorf("the process has grown by %d MiB for %d answers of %d MiB", peak>>20, streams, size>>20)
			}
			if used > floodTime/2 {
				t.Errorf("%v of processor time for nothing", used)
			}
			t.Logf("grown by %d MiB, %v of processor time", peak>>20, used)
		})
	}
}
