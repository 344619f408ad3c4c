package tags

import (
	"cmp"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Values is how the texts of tags stand for values.
type Values struct {
	Parse  func(text string) (any, error)          // nil: the value is the number, or the text itself
	Number func(text string) (v int64, right bool) // reads a bound too; nil: the values are no numbers
}

// values are the values of the kinds of package tags that are more than texts.
var values = map[string]Values{
	"bool":    {Parse: func(s string) (any, error) { return strconv.ParseBool(s) }},
	"strings": {Parse: parseStrings}, "choices": {Parse: parseStrings}, "prefixes": {Parse: parsePrefixes},
	"int": {Number: parseInt}, "size": {Number: ParseSize}, "rate": {Number: ByteRate},
	"duration": {Number: Nanoseconds},
}

func parseInt(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 0, 64)
	return n, err == nil
}

// parseStrings reads a list as JSON has it, or one text.
func parseStrings(s string) (any, error) {
	if !strings.HasPrefix(s, "[") {
		return []string{s}, nil
	}
	var all []string
	err := json.Unmarshal([]byte(s), &all)
	return all, err
}

func parsePrefixes(s string) (any, error) {
	texts, err := parseStrings(s)
	var all []netip.Prefix
	for _, text := range texts.([]string) {
		p, wrong := ParsePrefix(text)
		all, err = append(all, p), cmp.Or(err, wrong)
	}
	return all, err
}

// SizeText returns a number of bytes as a file has it.
func SizeText(n int64) string {
	unit := 0
	for ; unit < 3 && n > 0 && n%1024 == 0; unit++ {
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + [...]string{"", "k", "m", "g"}[unit]
}

// ParsePrefix reads a prefix of addresses, or a single one. None is an IPv4 one written as IPv6.
func ParsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if a, e := netip.ParseAddr(s); e == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), err
}

// shifts are the powers of two that units of sizes are.
var shifts = map[string]int{"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20,
	"g": 30, "gb": 30, "gib": 30, "t": 40, "tb": 40, "tib": 40}

// ParseSize reads "64k", "10m", "2g", "512", "64KiB" or "64 KiB": powers of 1024, bytes when bare.
func ParseSize(s string) (int64, bool) {
	digits := strings.TrimRight(s, "kKmMgGtTiIbB")
	unit := s[len(digits):]
	if unit != "" {
		digits = strings.TrimSuffix(digits, " ")
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, false
	}
	shift, known := shifts[strings.ToLower(unit)]
	if !known || n > math.MaxInt64>>shift {
		return 0, false
	}
	return int64(n) << shift, true
}

// ParseDuration reads "250ms", "5s", "1h30m", "7d", or a bare number of seconds.
func ParseDuration(s string) (time.Duration, bool) {
	if s == "" || strings.Trim(s, "0123456789.hmsnuµd") != "" {
		return 0, false
	}
	if strings.Trim(s, "0123456789.") == "" {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, false
		}
		return Seconds(f)
	}
	var days time.Duration
	if head, rest, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, false
		}
		days, s = time.Duration(n)*24*time.Hour, rest
	}
	if s == "" {
		return days, true
	}
	d, err := time.ParseDuration(s)
	if err != nil || d > math.MaxInt64-days {
		return 0, false
	}
	return d + days, true
}

// ByteRate reads a size, with or without "/s": bytes a second.
func ByteRate(s string) (int64, bool) { return ParseSize(strings.TrimSuffix(s, "/s")) }

// Nanoseconds is ParseDuration for bounds.
func Nanoseconds(s string) (int64, bool) {
	t, ok := ParseDuration(s)
	return int64(t), ok
}

// Seconds converts a number of seconds, up to a century.
func Seconds(f float64) (time.Duration, bool) {
	if !(f >= 0 && f <= 100*365*86400) {
		return 0, false
	}
	return time.Duration(math.Round(f * float64(time.Second))), true
}
