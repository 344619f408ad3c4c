package syslog

import (
	"bytes"
	"cmp"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/observe"
)

// The severities of RFC 5424 §6.2.1 that messages have.
const (
	severityErr     = 3
	severityWarning = 4
	severityInfo    = 6
	severityDebug   = 7
)

// severities has the severity for each level that a record may have.
var severities = map[slog.Level]int{
	slog.LevelInfo: severityInfo, slog.LevelWarn: severityWarning, slog.LevelError: severityErr,
}

// paramMax bounds a value of structured data, in bytes: the header of a message is then less than sizeMin.
const paramMax = 64

// composer makes messages. Owned by the writing goroutine.
type composer struct {
	format   Format
	facility int
	sd       bool
	local    *time.Location
	host     string // with a blank after it; empty: the message has none
	app, pid string

	enc    observe.Encoder
	record observe.Record
	line   []byte
	msg    []byte // the message
}

// newComposer makes a composer for o, whose defaults are set.
func newComposer(o Options, pid string) composer {
	c := composer{format: o.Format, facility: int(o.Facility) - 1, sd: o.SD, local: time.Local, pid: pid}
	// RFC 5424 §6.2.4 and §6.2.5 have the lengths.
	c.host = printable(o.Hostname, 255, "") + " "
	c.app = printable(o.App, 48, "")
	if c.format == RFC3164 {
		c.app = printable(c.app, 32, "[]:") // §4.1.3: the tag has 32 characters, and these three end it
		if o.Network == "unix" {
			c.host = "" // syslog(3) sends none, and servers would take it for the tag
		}
	}
	return c
}

// printable returns text with '_' for all but printable characters of ASCII, and for the characters of not.
func printable(text string, most int, not string) string {
	p := []byte(text[:min(len(text), most)])
	for i, c := range p {
		if c <= ' ' || c > '~' || strings.IndexByte(not, c) >= 0 {
			p[i] = '_'
		}
	}
	return cmp.Or(string(p), "-")
}

// access makes the message of a frame.
func (c *composer) access(frame []byte) error {
	r := &c.record
	if _, err := observe.ReadRecord(frame, r); err != nil {
		return err
	}
	c.line = c.enc.AppendLine(c.line[:0], r)
	c.header(severities[r.Level()], time.Unix(0, r.Time+r.Dur), "access")
	if c.format == RFC5424 {
		c.structured()
	}
	c.text(c.line)
	return nil
}

// structured appends what servers choose by, where it is asked for. 32473 is the number for examples (RFC 5612), until
// edge has one of its own.
func (c *composer) structured() {
	r := &c.record
	if !c.sd {
		c.msg = append(c.msg, "- "...)
		return
	}
	c.msg = append(c.msg, `[edge@32473 status="`...)
	c.msg = strconv.AppendInt(c.msg, int64(r.Status), 10)
	for _, p := range [...]struct{ name, value string }{
		{`" listener="`, r.Listener}, {`" route="`, r.Route}, {`" reason="`, r.Reason},
	} {
		if p.value != "" {
			c.msg = append(c.msg, p.name...)
			c.msg = appendParam(c.msg, p.value)
		}
	}
	c.msg = append(c.msg, `"] `...)
}

// appendParam appends a value of structured data: RFC 5424 §6.3.3 wants UTF-8, and three characters escaped.
func appendParam(dst []byte, value string) []byte {
	for at, r := range value {
		switch {
		case at+utf8.RuneLen(r) > paramMax:
			return dst
		case r == '"' || r == '\\' || r == ']':
			dst = append(dst, '\\', byte(r))
		case unicode.IsControl(r):
			dst = append(dst, '?')
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// event makes the message of a line that slog.JSONHandler has written, or of any other. An empty line has none.
func (c *composer) event(line []byte, now time.Time) {
	c.msg = c.msg[:0]
	if line = bytes.TrimSuffix(line, []byte{'\n'}); len(line) == 0 {
		return
	}
	severity := severityInfo
	if rest, ok := bytes.CutPrefix(line, []byte(`{"time":"`)); ok {
		text, rest, _ := bytes.Cut(rest, []byte(`","level":"`))
		var when time.Time
		if when.UnmarshalText(text) == nil {
			now, severity = when, severityOf(rest)
		}
	}
	c.header(severity, now, "event")
	if c.format == RFC5424 {
		c.msg = append(c.msg, "- "...)
	}
	c.text(line)
}

// severityOf returns the severity of a level of slog at the begin of p. One between two of them, as in WARN+1, is the
// lower one.
func severityOf(p []byte) int {
	switch {
	case bytes.HasPrefix(p, []byte("ERROR")):
		return severityErr
	case bytes.HasPrefix(p, []byte("WARN")):
		return severityWarning
	case bytes.HasPrefix(p, []byte("DEBUG")):
		return severityDebug
	}
	return severityInfo
}

// header begins the message, up to structured data, or to the text.
func (c *composer) header(severity int, when time.Time, id string) {
	m := append(c.msg[:0], '<')
	m = append(strconv.AppendInt(m, int64(c.facility*8+severity), 10), '>')
	if c.format == RFC3164 {
		m = when.In(c.local).AppendFormat(m, "Jan _2 15:04:05 ") // §4.1.2: local time
		m = append(append(m, c.host...), c.app...)
		m = append(append(m, '['), c.pid...)
		c.msg = append(m, "]: "...)
		return
	}
	m = append(m, "1 "...)
	m = when.UTC().AppendFormat(m, "2006-01-02T15:04:05.000000Z ")
	m = append(append(m, c.host...), c.app...)
	m = append(append(m, ' '), c.pid...)
	m = append(append(m, ' '), id...)
	c.msg = append(m, ' ')
}

// text ends the message with line. UTF-8 gets no byte order mark before it, which RFC 5424 §6.4 has for text that is
// known to be UTF-8: a line may have other bytes, and servers keep the mark, so that JSON is no JSON any more.
func (c *composer) text(line []byte) {
	at := len(c.msg)
	c.msg = append(c.msg, bytes.TrimSuffix(line, []byte{'\n'})...)
	for p := c.msg[at:]; ; { // a line feed ends a message for many servers: a template must not forge another one
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			return
		}
		p[i] = ' '
		p = p[i+1:]
	}
}
