package plan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/acme"
)

// Unit is what values of a word are, as files of programs have them.
type Unit string

// The units.
const (
	Seconds Unit = "seconds" // a time; a number alone is in seconds
	Millis  Unit = "millis"  // a time; a number alone is in milliseconds
	Bytes   Unit = "bytes"   // a size; k is 1024
	Number  Unit = "number"
	Switch  Unit = "switch" // on or off
	Phrase  Unit = "text"
	CA      Unit = "authority" // the URL of an ACME directory
)

// Value returns what TOML has for a value.
func (u Unit) Value(s string) (value string, ok bool) {
	switch u {
	case Seconds, Millis:
		alone := time.Second
		if u == Millis {
			alone = time.Millisecond
		}
		d, ok := ParseTime(s, alone)
		return Duration(d), ok
	case Bytes:
		n, ok := ParseSize(s, 1<<10)
		return Size(n), ok
	case Number:
		n, err := strconv.ParseUint(s, 10, 31)
		return strconv.FormatUint(n, 10), err == nil
	case CA:
		return String(acme.Word(s)), true
	case Switch:
		on := slices.Contains([]string{"on", "yes", "true"}, s)
		return strconv.FormatBool(on), on || slices.Contains([]string{"off", "no", "false"}, s)
	}
	return String(s), true
}

var timePart = Expr(`^(\d{1,12}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h|d|w|M|y|)\s*`)

var timeUnits = map[string]time.Duration{"ns": 1, "us": time.Microsecond, "µs": time.Microsecond,
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "M": 30 * 24 * time.Hour, "y": 365 * 24 * time.Hour}

const timeMax = 100 * 365 * 24 * time.Hour

// ParseTime reads a time such as "90", "1h30m", "1d 2h" or "1.5s". alone is the unit of a number that has none.
func ParseTime(s string, alone time.Duration) (d time.Duration, ok bool) {
	for s = strings.TrimSpace(s); s != ""; {
		m := timePart().FindStringSubmatch(s)
		if m == nil {
			return 0, false
		}
		unit, n := alone, 0.0
		if m[2] != "" {
			unit = timeUnits[m[2]]
		}
		if n, _ = strconv.ParseFloat(m[1], 64); n*float64(unit)+float64(d) > float64(timeMax) {
			return 0, false
		}
		d, s, ok = d+time.Duration(n*float64(unit)), s[len(m[0]):], true
	}
	return d, ok
}

var sizeText = Expr(`(?i)^(\d{1,9})\s*([kmg]?)(i?)b?$`)

// ParseSize reads a size such as "512", "10m", "1GiB", "10MB". thousand is what k without an "i" stands for.
func ParseSize(s string, thousand int64) (n int64, ok bool) {
	m := sizeText().FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	if m[3] != "" {
		thousand = 1 << 10
	}
	n, _ = strconv.ParseInt(m[1], 10, 64)
	for range 1 + strings.Index("kmg", strings.ToLower(cmp.Or(m[2], "-"))) {
		n *= thousand
	}
	return n, n < 1<<44
}
