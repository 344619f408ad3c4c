// Package dnsserver is a small DNS server for tests: what it answers is said in lines, and it can fail in the ways that
// servers fail. Its answers are made by golang.org/x/net/dns/dnsmessage.
//
// Respond works without a socket, for tests in virtual time; Start serves UDP and TCP on a port of 127.0.0.1 that the
// kernel chooses. Both are safe for any goroutine.
package dnsserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Failure is a way to fail.
type Failure int

// The failures.
const (
	None       Failure = iota
	ServFail           // SERVFAIL
	Refused            // REFUSED
	Drop               // no answer at all
	NoSOA              // missing names are denied without a SOA record
	OtherSOA           // missing names are denied by the SOA record of other.test.
	CutOff             // over UDP the answer is cut off
	BeforeEDNS         // a question with EDNS is a FORMERR
	Lame               // no record, no SOA, no error
	DropEDNS           // a question with EDNS has no answer
)

// Server answers questions.
// Safe for any goroutine.
type Server struct {
	Addr netip.AddrPort // after Start

	mu      sync.Mutex
	records map[string][]string // guarded by mu
	extra   map[string][]string // guarded by mu
	failing map[string]Failure  // guarded by mu
	asked   map[string]int      // guarded by mu
}

// New makes a Server without sockets.
func New() *Server {
	return &Server{records: map[string][]string{}, extra: map[string][]string{}, failing: map[string]Failure{},
		asked: map[string]int{}}
}

// Start makes a Server that serves until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := New()
	for range 100 { // a port that is free for UDP may be taken for TCP
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err != nil {
			packets.Close() //nolint:errcheck // another one is made
			continue
		}
		s.Addr = packets.LocalAddr().(*net.UDPAddr).AddrPort()
		var done sync.WaitGroup
		done.Go(func() { s.servePackets(packets) })
		done.Go(func() { s.serveStreams(listener) })
		t.Cleanup(func() {
			packets.Close()  //nolint:errcheck // it ends
			listener.Close() //nolint:errcheck // it ends
			done.Wait()
		})
		return s
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil
}

// Answer sets the records of a full name in lower case, replacing those before: "A 30 10.0.0.1", "AAAA 30 ::1",
// "CNAME 30 other.", "NS 30 server.", "TXT 30 text", "SRV 30 priority weight port target."; "SOA 60" makes it the name
// of a zone. "*.parent." stands for names below. Without lines the name is there and has no records.
func (s *Server) Answer(name string, lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = lines
}

// Forget removes a name: NXDOMAIN.
func (s *Server) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, name)
}

// Add adds further records to answers to questions for name: "owner. A 30 10.0.0.1".
func (s *Server) Add(name string, lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra[name] = lines
}

// Fail makes questions for a key fail: "name.", "name. AAAA", or "" for all.
func (s *Server) Fail(key string, how Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing[key] = how
}

// Asked returns how many questions came for "name. A".
func (s *Server) Asked(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[key]
}

// Respond returns the answer to a query that came over "udp" or "tcp", nil for none.
func (s *Server) Respond(network string, query []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil || p.SkipAllQuestions() != nil {
		return nil
	}
	_ = p.SkipAllAnswers()
	_ = p.SkipAllAuthorities()
	extra, err := p.AdditionalHeader()
	edns := err == nil && extra.Type == dnsmessage.TypeOPT
	name := strings.ToLower(q.Name.String())
	key := name + " " + strings.TrimPrefix(q.Type.String(), "Type")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[key]++
	how := s.failing[key]
	for _, other := range []string{name, ""} {
		if how == None {
			how = s.failing[other]
		}
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true,
		Authoritative: s.zone(name) != "."},
		Questions: []dnsmessage.Question{q}}
	switch {
	case how == Drop, how == DropEDNS && edns:
		return nil
	case how == ServFail:
		m.RCode = dnsmessage.RCodeServerFailure
	case how == Refused:
		m.RCode = dnsmessage.RCodeRefused
	case how == BeforeEDNS && edns:
		m.RCode = dnsmessage.RCodeFormatError
	case how == CutOff && network == "udp":
		m.Truncated = true
	case how == Lame:
	default:
		s.fill(&m, name, q.Type, how != NoSOA)
		if how == OtherSOA && len(m.Authorities) > 0 {
			m.Authorities[0].Header.Name = dnsmessage.MustNewName("other.test.")
		}
	}
	raw, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return raw
}

// fill answers from the records. s.mu is held.
func (s *Server) fill(m *dnsmessage.Message, name string, kind dnsmessage.Type, soa bool) {
	owner, found := name, false
	for range 20 {
		lines, known := s.lines(owner)
		if !known {
			m.RCode = dnsmessage.RCodeNameError
			break
		}
		m.RCode = dnsmessage.RCodeSuccess
		next := ""
		for _, line := range lines {
			r := resource(owner + " " + line)
			if alias, is := r.Body.(*dnsmessage.CNAMEResource); is && kind != dnsmessage.TypeCNAME {
				next = alias.CNAME.String()
			} else if r.Header.Type != kind {
				continue
			} else {
				found = true
			}
			m.Answers = append(m.Answers, r)
		}
		if next == "" || found {
			break
		}
		owner = next
	}
	if !found && soa {
		m.Authorities = append(m.Authorities, resource(s.zone(owner)+" SOA 60"))
	}
	for _, line := range s.extra[name] {
		m.Additionals = append(m.Additionals, resource(line))
	}
}

// lines returns the records of a name, or of the wildcard "*.parent." that stands for it (RFC 4592 §3.3). s.mu is held.
func (s *Server) lines(name string) (lines []string, known bool) {
	lines, known = s.records[name]
	for above := name; !known && above != ""; {
		if _, above, _ = strings.Cut(above, "."); s.records[above] != nil {
			above = "" // a wildcard is for no name below a name that is there
		}
		lines, known = s.records["*."+above]
	}
	return lines, known
}

// zone returns the name next above a name that has a SOA record, or ".". s.mu is held.
func (s *Server) zone(name string) string {
	for ; name != ""; _, name, _ = strings.Cut(name, ".") {
		if slices.Contains(s.records[name], "SOA 60") {
			return name
		}
	}
	return "."
}

// resource reads "owner. TYPE TTL value…".
func resource(line string) dnsmessage.Resource {
	f := strings.Fields(line)
	var ttl uint32
	scan(f[2], &ttl)
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(f[0]), Class: dnsmessage.ClassINET, TTL: ttl}
	switch f[1] {
	case "A":
		h.Type = dnsmessage.TypeA
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: netip.MustParseAddr(f[3]).As4()}}
	case "AAAA":
		h.Type = dnsmessage.TypeAAAA
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(f[3]).As16()}}
	case "CNAME":
		h.Type = dnsmessage.TypeCNAME
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(f[3])}}
	case "SRV":
		h.Type = dnsmessage.TypeSRV
		r := &dnsmessage.SRVResource{Target: dnsmessage.MustNewName(f[6])}
		scan(f[3], &r.Priority)
		scan(f[4], &r.Weight)
		scan(f[5], &r.Port)
		return dnsmessage.Resource{Header: h, Body: r}
	case "NS":
		h.Type = dnsmessage.TypeNS
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.NSResource{NS: dnsmessage.MustNewName(f[3])}}
	case "TXT":
		h.Type = dnsmessage.TypeTXT
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.TXTResource{TXT: f[3:]}}
	case "SOA":
		h.Type = dnsmessage.TypeSOA
		root := dnsmessage.MustNewName(".")
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.SOAResource{NS: root, MBox: root, MinTTL: ttl}}
	}
	panic("no record of " + line)
}

func scan(text string, to any) {
	if _, err := fmt.Sscan(text, to); err != nil {
		panic(err)
	}
}

// Exchange answers without a socket: it is a dns.Exchange. What is dropped takes until ctx ends.
func (s *Server) Exchange(ctx context.Context, network string, _ netip.AddrPort, query []byte,
	fits func([]byte) bool) ([]byte, error) {
	if raw := s.Respond(network, query); fits(raw) {
		return raw, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *Server) servePackets(packets net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := packets.ReadFrom(buf)
		if err != nil {
			return
		}
		if raw := s.Respond("udp", buf[:n]); raw != nil {
			if _, err := packets.WriteTo(raw, from); err != nil {
				return
			}
		}
	}
}

func (s *Server) serveStreams(listener net.Listener) {
	var done sync.WaitGroup
	defer done.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		done.Go(func() {
			defer conn.Close()                                     //nolint:errcheck // it was answered
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // a client that says nothing
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			if raw := s.Respond("tcp", query); raw != nil {
				raw = append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
				_, _ = conn.Write(raw) // a client that has gone has no use for it
			}
		})
	}
}
