package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Exchange sends a query to a server over a network, "udp" or "tcp", and returns the first answer that fits. It must
// return when ctx ends.
type Exchange func(ctx context.Context, network string, server netip.AddrPort, query []byte,
	fits func(raw []byte) bool) ([]byte, error)

// overSockets is the Exchange of the machine. Each one has a new socket, and with it a port that is hard to guess.
func overSockets(ctx context.Context, network string, server netip.AddrPort, query []byte,
	fits func([]byte) bool) ([]byte, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to be done
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()
	if network == "tcp" {
		return overTCP(conn, query, fits)
	}
	if _, err = conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if fits(buf[:n]) { // others may guess the port, and may not end the wait by it
			return buf[:n], nil
		}
	}
}

var past = time.Unix(1, 0)

// overTCP is an exchange on a connection: messages have their length in front (RFC 1035 §4.2.2).
func overTCP(conn net.Conn, query []byte, fits func([]byte) bool) ([]byte, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(query)), uint16(len(query)))
	if _, err := conn.Write(append(framed, query...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	raw := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, raw); err != nil {
		return nil, err
	}
	if !fits(raw) {
		return nil, errMismatch
	}
	return raw, nil
}

// ask asks the servers for records of a full name, one after the other, until one answers. The first is the server that
// answered last.
func (c *Client) queryServers(ctx context.Context, s *settings, name string, kind dnsmessage.Type) (*reply, error) {
	q, err := newQuestion(name, kind)
	if err != nil {
		return nil, err
	}
	first := int(c.answered.Load())
	for i := range s.attempts * len(s.servers) {
		at := (first + i) % len(s.servers)
		r, failed := c.queryServer(ctx, s, q, s.servers[at], i >= len(s.servers))
		if failed == nil {
			c.answered.Store(uint32(at))
			return r, nil
		}
		err = fmt.Errorf("%s %s at %s: %w", kind.String()[len("Type"):], name, s.servers[at], failed)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// queryServer asks one server. again: it was asked the same question before.
func (c *Client) queryServer(ctx context.Context, s *settings, q *question, server netip.AddrPort, again bool) (
	*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	plain := *q
	plain.id = ^plain.id // a late answer to the question before does not fit
	for _, try := range []struct {
		*question
		edns bool
	}{{q, true}, {&plain, false}} {
		if try.edns && !c.usesEDNS(server, again) {
			continue
		}
		r, err := c.query(ctx, try.question, server, try.edns)
		c.noteSilence(server, try.edns, err)
		switch {
		case err != nil:
			return nil, err
		case try.edns && (r.code == dnsmessage.RCodeFormatError || r.code == dnsmessage.RCodeNotImplemented):
			continue // RFC 6891 §7: a server from before EDNS
		case r.code != dnsmessage.RCodeSuccess && r.code != dnsmessage.RCodeNameError:
			return nil, &codeError{r.code}
		case !r.soa && r.code == dnsmessage.RCodeNameError, !r.soa && len(r.answers) == 0:
			return nil, errNoSOA
		}
		return r, nil
	}
	return nil, &codeError{dnsmessage.RCodeFormatError}
}

// query asks over UDP, and over TCP when the answer was cut off.
func (c *Client) query(ctx context.Context, q *question, server netip.AddrPort, edns bool) (*reply, error) {
	query, err := q.pack(edns)
	if err != nil {
		return nil, err
	}
	for _, network := range []string{"udp", "tcp"} {
		raw, err := c.exchange(ctx, network, server, query, q.fits)
		if err != nil {
			if ctx.Err() != nil && !errors.Is(ctx.Err(), context.Canceled) {
				err = errNoAnswer
			}
			return nil, err
		}
		r, err := parseReply(q, raw)
		if err != nil || !r.truncated {
			return r, err
		}
	}
	return nil, errTruncated
}

// silence is what a server left unanswered. Some gateways drop questions with EDNS, and answer those without.
type silence struct {
	timeouts int       // of questions with EDNS, in a row
	until    time.Time // it answers without EDNS, and is asked so until then; zero: nothing is known
}

const (
	timeoutsMax = 2         // of questions with EDNS in a row, after which a server is asked without
	plainTime   = time.Hour // until it is asked with EDNS again, as it may be another server by then
	silentMax   = 1024      // servers that are known
)

// usesEDNS reports whether server is asked with EDNS. A question that it left unanswered is asked without.
func (c *Client) usesEDNS(server netip.AddrPort, again bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.silent[server]
	return s.timeouts == 0 || s.timeouts < timeoutsMax && !again || !s.until.IsZero() && time.Now().After(s.until)
}

// noteSilence notes whether server has answered, in time, a question with EDNS or without.
func (c *Client) noteSilence(server netip.AddrPort, edns bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, silent := c.silent[server], errors.Is(err, errNoAnswer)
	switch {
	case err != nil && !silent:
		return
	case edns && silent && (s.timeouts > 0 || len(c.silent) < silentMax):
		c.silent[server] = silence{timeouts: s.timeouts + 1}
	case !edns && s.timeouts > 0 && !silent && s.until.IsZero():
		s.until = time.Now().Add(plainTime)
		c.silent[server] = s
	case edns, silent && s.until.IsZero(): // it answers with EDNS, or not at all
		delete(c.silent, server)
	}
}

var (
	errNoAnswer  = errors.New("no answer in time")
	errTruncated = errors.New("the answer was cut off, over TCP too")
)

// codeError is what a server said instead of an answer.
type codeError struct{ code dnsmessage.RCode }

func (e *codeError) Error() string {
	switch e.code {
	case dnsmessage.RCodeServerFailure:
		return "SERVFAIL"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	}
	return fmt.Sprintf("RCODE %d", e.code)
}
