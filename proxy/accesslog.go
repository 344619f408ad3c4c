package proxy

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/lang"
)

// AccessLog takes records. Append copies what it keeps and never waits. Each is owned by one reactor.
type AccessLog interface {
	// Append takes a record. r and what it refers to are borrowed until return.
	Append(r *observe.Record)
}

// ExchangeLog is an AccessLog that looks at the exchange of a record too.
type ExchangeLog interface {
	AccessLog
	// AppendOf is Append for the record r of x. It runs on the reactor of x.
	AppendOf(x *Exchange, r *observe.Record)
}

// Chooser is an AccessLog that has the records of some exchanges alone.
type Chooser interface {
	AccessLog
	// Choose returns the log that gets the record of x, nil where none does, and the share of all exchanges that x
	// stands for as a JSON number: "" where it stands for itself. It runs on the reactor of x, once, when x is over.
	Choose(x *Exchange) (to AccessLog, rate string)
}

// LogChoice says of which exchanges an access log has records: of none for which When does not hold, of each for which
// one of Always does, and of a sample of all others. Conditions are for the phase of the log. Immutable.
type LogChoice struct {
	When   *lang.Condition // nil: all
	Always []*lang.Condition
	Sample LogSample
}

// LogSample is a share of all exchanges. The zero value is all of them.
type LogSample struct {
	rate  string // as a JSON number; "": all
	below uint64 // of the 1<<63 numbers that a hash may be
}

// SampleLog returns the sample of a share from 0 to 1. All exchanges of one trace are in it or none is, in each process
// that knows the trace: what counts is the number of the trace, or the number of the request where no trace is known. A
// larger share has all that a smaller one has.
func SampleLog(share float64) LogSample {
	if share >= 1 {
		return LogSample{}
	}
	return LogSample{rate: strconv.FormatFloat(share, 'f', -1, 64), below: uint64(share * (1 << 63))}
}

// takes reports whether the exchange of k is in the sample.
func (s *LogSample) takes(k *record) bool {
	of := k.traceID()
	if len(of) == 0 {
		of = k.given
	}
	if len(of) > 0 {
		return uint64(lang.Hash(of)) < s.below
	}
	var text [32]byte // what the next proxy may get as the number of the request
	id := k.ownID()
	hex.Encode(text[:], id[:])
	return uint64(lang.Hash(text[:])) < s.below
}

// chosenLog is an access log with a choice. Owned by one reactor.
type chosenLog struct {
	to     AccessLog
	choice *LogChoice
}

// ChooseLog returns a log that gives to to what c chooses. What came and was no request is in it in any case.
func ChooseLog(to AccessLog, c *LogChoice) Chooser { return &chosenLog{to, c} }

// Append writes the record of what was no request.
func (l *chosenLog) Append(r *observe.Record) { l.to.Append(r) }

func (l *chosenLog) Choose(x *Exchange) (to AccessLog, rate string) {
	c, counts := l.choice, &x.local.stats.Logs
	if c.When != nil && !c.When.Holds(View(x)) {
		counts.Unwanted++
		return nil, ""
	}
	if c.Sample.rate == "" {
		return l.to, ""
	}
	for _, always := range c.Always {
		if always.Holds(View(x)) {
			return l.to, ""
		}
	}
	if !c.Sample.takes(&x.record) {
		counts.Sampled++
		return nil, ""
	}
	return l.to, c.Sample.rate
}

// lineLog is an access log in lines of its own form. Owned by one reactor.
type lineLog struct {
	to     *observe.AccessLog
	line   *lang.Template
	escape func(dst []byte, from int) []byte
	text   []byte // of the line
	value  []byte // that is escaped
	hidden []byte // room of redact
	redact *observe.Redaction
}

// LogLines returns a log that writes to to what line, which is for the phase of the log, makes of an exchange. The
// values of a line that begins with a brace are escaped as in JSON, any others as in the Common Log Format. What came
// and was no request is logged as a record. Values are redacted as Listener.Redact says.
func LogLines(to *observe.AccessLog, line *lang.Template) ExchangeLog {
	l := &lineLog{to: to, line: line}
	escape := observe.EscapeText
	if strings.HasPrefix(line.String(), "{{") {
		escape = observe.EscapeJSON
	}
	l.escape = func(dst []byte, from int) []byte {
		l.value = append(l.value[:0], dst[from:]...)
		return escape(dst[:from], l.redact.Text(&l.hidden, l.value))
	}
	return l
}

// Append writes the record of what was no request.
func (l *lineLog) Append(r *observe.Record) { l.to.Append(r) }

// AppendOf writes the line of x.
func (l *lineLog) AppendOf(x *Exchange, r *observe.Record) {
	l.redact = x.listener.Redact
	l.text = l.line.AppendEscaped(l.text[:0], View(x), l.escape)
	if !l.to.Framed() {
		l.to.AppendLine(l.text)
		return
	}
	if len(l.text) == 0 {
		l.text = append(l.text, ' ') // an empty text would stand for the form of the log
	}
	r.Line.Text = l.text
	l.to.Append(r)
	r.Line.Text = nil
}
