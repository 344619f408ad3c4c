package observe

import (
	"math"
	"strconv"
	"strings"
)

// MetricFormat is a text format in which Prometheus reads metrics.
type MetricFormat uint8

// The formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and the specification of OpenMetrics 1.0.
const (
	PrometheusText MetricFormat = iota // version 0.0.4
	OpenMetrics                        // version 1.0.0
)

// ContentType returns the media type of f.
func (f MetricFormat) ContentType() string {
	if f == OpenMetrics {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// ChooseMetricFormat returns the format that the value of an Accept field asks for: OpenMetrics where it is named with
// a weight not below the weight of anything else that is known, PrometheusText for all other values, "" among them.
func ChooseMetricFormat(accept string) MetricFormat {
	chosen, best := PrometheusText, -1.0
	for item := range strings.SplitSeq(accept, ",") {
		kind, parameters, _ := strings.Cut(item, ";")
		f := PrometheusText
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "application/openmetrics-text":
			f = OpenMetrics
		case "text/plain", "text/*", "*/*":
		default:
			continue
		}
		q, known := weighed(parameters)
		if !known && f == OpenMetrics || q <= 0 {
			continue
		}
		if q > best || q == best && f == OpenMetrics {
			chosen, best = f, q
		}
	}
	return chosen
}

// weighed returns the weight among the parameters of a media range, 1 where there is none, and whether the version is
// written here.
func weighed(parameters string) (q float64, known bool) {
	q, known = 1, true
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "q":
			w, err := strconv.ParseFloat(value, 64)
			if q = w; err != nil || !(w >= 0 && w <= 1) {
				q = 0
			}
		case "version":
			known = value == "1.0.0" || value == "0.0.1"
		}
	}
	return q, known
}

// Exposition is a page of metrics in the making. It is appended to, and checks nothing: families must have different
// names, and the lines of a family stand together. The page is Bytes after End. Its memory is used again after Reset.
// Owned by one goroutine.
type Exposition struct {
	buf    []byte
	format MetricFormat
}

// Reset begins a page.
func (e *Exposition) Reset(f MetricFormat) { e.buf, e.format = e.buf[:0], f }

// End ends the page. An empty one is valid, too.
func (e *Exposition) End() {
	if e.format == OpenMetrics {
		e.buf = append(e.buf, "# EOF\n"...)
	}
}

// Bytes returns the page, borrowed until Reset.
func (e *Exposition) Bytes() []byte { return e.buf }

// units are the last parts of names that OpenMetrics calls a unit.
var units = []string{"seconds", "bytes", "ratio"}

// unitOf returns the unit that a name of a family ends in, "" where it ends in none.
func unitOf(family string) string {
	for _, unit := range units {
		if strings.HasSuffix(family, "_"+unit) {
			return unit
		}
	}
	return ""
}

var kindTexts = [...]string{KindCounter: "counter", KindGauge: "gauge", KindHistogram: "histogram"}

// namesake is a gauge that is called as a counter is without _total. OpenMetrics has one family of a name.
const namesake = "edge_connections"

// Family begins the lines of the family with that name, which ends in _total where it is a counter.
func (e *Exposition) Family(name, help string, kind Kind) {
	typed := kindTexts[kind]
	if e.format == OpenMetrics && kind == KindCounter {
		// The family is called so, its samples have the whole name.
		if short := strings.TrimSuffix(name, "_total"); short != namesake {
			name = short
		} else {
			typed = "unknown" // whose samples are called as the family is
		}
	}
	b := append(e.buf, "# HELP "...)
	b = append(append(b, name...), ' ')
	b = appendHelp(b, help, e.format == OpenMetrics)
	b = append(b, "\n# TYPE "...)
	b = append(append(b, name...), ' ')
	b = append(append(b, typed...), '\n')
	if unit := unitOf(name); unit != "" && e.format == OpenMetrics {
		b = append(b, "# UNIT "...)
		b = append(append(b, name...), ' ')
		b = append(append(b, unit...), '\n')
	}
	e.buf = b
}

// Value appends a line with its value. line is what AppendLine has made.
func (e *Exposition) Value(line []byte, v float64) {
	e.buf = append(appendValue(append(e.buf, line...), v), '\n')
}

// Count appends a line with a whole number.
func (e *Exposition) Count(line []byte, n uint64) {
	e.buf = append(appendUint(append(e.buf, line...), n), '\n')
}

// Histogram appends the lines of h, which counts what counts holds, and whose values add up to sum seconds. counts has
// one more element than h has bounds: what is above all of them. An element counts what is not in those before it.
func (e *Exposition) Histogram(h *HistogramLines, counts []uint64, sum float64) {
	b, n := e.buf, uint64(0)
	for i, le := range h.bounds {
		n += counts[i]
		b = append(append(b, h.bucket...), le...)
		b = append(appendUint(b, n), '\n')
	}
	b = append(append(b, h.sum...), ' ')
	b = append(appendValue(b, sum), '\n')
	b = append(append(b, h.count...), ' ')
	e.buf = append(appendUint(b, n), '\n')
}

// HistogramLines are the beginnings of the lines of one histogram.
// Immutable after NewHistogramLines.
type HistogramLines struct {
	bucket, sum, count []byte
	bounds             []string // what follows bucket: of all histograms with the same bounds
}

// NewHistogramLines renders the lines of the histogram of that name and those labels. bounds are what HistogramBounds
// has made.
func NewHistogramLines(name string, bounds []string, labels ...Label) *HistogramLines {
	mustBeNames(name, sorted(labels))
	line := func(suffix string) []byte {
		b := AppendLine(nil, name+suffix, labels...)
		return b[:len(b)-1]
	}
	h := &HistogramLines{bucket: line("_bucket"), sum: line("_sum"), count: line("_count"), bounds: bounds}
	if len(labels) > 0 {
		h.bucket[len(h.bucket)-1] = ','
	} else {
		h.bucket = append(h.bucket, '{')
	}
	h.bucket = append(h.bucket, `le="`...)
	return h
}

// HistogramBounds renders the bounds of buckets, which ascend; the last bucket has none. Both formats write them as
// OpenMetrics does, "1.0" and not "1": the label is the same whichever format is read.
func HistogramBounds(seconds ...float64) []string {
	texts := make([]string, 0, len(seconds)+1)
	for _, s := range seconds {
		le := strconv.FormatFloat(s, 'g', -1, 64)
		if !strings.ContainsAny(le, ".e") {
			le += ".0"
		}
		texts = append(texts, le+`"} `)
	}
	return append(texts, `+Inf"} `)
}

// AppendLine appends the beginning of a line, up to its value: name{label="value"} and a blank.
func AppendLine(dst []byte, name string, labels ...Label) []byte {
	dst = append(dst, name...)
	for i, l := range labels {
		between := byte(',')
		if i == 0 {
			between = '{'
		}
		dst = append(append(dst, between), l.Name...)
		dst = append(dst, `="`...)
		// Both formats are UTF-8: bytes that are none become U+FFFD.
		dst = append(appendHelp(dst, l.Value, true), '"')
	}
	if len(labels) > 0 {
		dst = append(dst, '}')
	}
	return append(dst, ' ')
}

// appendHelp appends the text of a HELP line. Only OpenMetrics escapes quotes there.
func appendHelp(dst []byte, text string, quotes bool) []byte {
	for _, c := range text { // an invalid byte is read as U+FFFD
		switch {
		case c == '\\':
			dst = append(dst, `\\`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '"' && quotes:
			dst = append(dst, `\"`...)
		case c < 0x80:
			dst = append(dst, byte(c))
		default:
			dst = append(dst, string(c)...)
		}
	}
	return dst
}

// wholeMax is the largest magnitude below which a float64 has no gaps between whole numbers.
const wholeMax = 1 << 53

// appendValue appends a number as both formats have it.
func appendValue(dst []byte, v float64) []byte {
	switch {
	case v == math.Trunc(v) && math.Abs(v) < wholeMax: // as most are; -0 becomes 0
		return appendInt(dst, int64(v))
	case math.IsInf(v, 1):
		return append(dst, "+Inf"...)
	case math.IsInf(v, -1):
		return append(dst, "-Inf"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64) // NaN is written so, too
}
