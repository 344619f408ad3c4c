package schema

import (
	"math"
	"strconv"
	"strings"
	"time"
)

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
	shift := 0
	switch strings.ToLower(unit) {
	case "", "b":
	case "k", "kb", "kib":
		shift = 10
	case "m", "mb", "mib":
		shift = 20
	case "g", "gb", "gib":
		shift = 30
	case "t", "tb", "tib":
		shift = 40
	default:
		return 0, false
	}
	if n > math.MaxInt64>>shift {
		return 0, false
	}
	return int64(n) << shift, true
}

const day = 24 * time.Hour

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
		return seconds(f)
	}
	var days time.Duration
	if head, rest, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, false
		}
		days, s = time.Duration(n)*day, rest
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

// seconds converts a number of seconds, up to a century.
func seconds(f float64) (time.Duration, bool) {
	if !(f >= 0 && f <= 100*365*86400) {
		return 0, false
	}
	return time.Duration(math.Round(f * float64(time.Second))), true
}
