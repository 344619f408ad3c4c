package nginx

import (
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/import/plan"
)

// variable is a variable in a value: $name or ${name}.
var variable = plan.Expr(`\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))`)

// expand replaces the variables of s that are constants, as set makes them. It repeats that, since the value of a
// constant may have others.
func expand(s string, constants map[string]string) string {
	for range 4 {
		next := variable().ReplaceAllStringFunc(s, func(m string) string {
			if value, found := constants[nameOf(m)]; found && len(value) < 1024 {
				return value
			}
			return m
		})
		if next == s || len(next) > 8192 {
			break
		}
		s = next
	}
	return s
}

// nameOf returns the name of a variable.
func nameOf(m string) string { return strings.Trim(m, "${}") }

// translate replaces the variables of s by those that edge has; unknown is one that has no match, or "".
func translate(s string, known map[string]string) (result, unknown string) {
	result = variable().ReplaceAllStringFunc(s, func(m string) string {
		if here, found := known[nameOf(m)]; found {
			return here
		}
		unknown = m
		return m
	})
	return result, unknown
}

// hasVariables reports whether s has a variable.
func hasVariables(s string) bool { return variable().MatchString(s) }

// timeUnits returns those of nginx.
func timeUnits() map[string]time.Duration {
	return map[string]time.Duration{
		"": time.Second, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "M": 30 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
	}
}

var timePart = plan.Expr(`^([0-9]{1,9})(ms|[smhdwMy]?)`)

// parseTime reads a time: "60", "90s", "1h 30m", "1h30m".
func parseTime(s string) (d time.Duration, ok bool) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimLeft(s, " ") {
		m := timePart().FindStringSubmatch(s)
		if m == nil {
			return 0, false
		}
		n, _ := strconv.Atoi(m[1])
		unit := timeUnits()[m[2]]
		if int64(n) > int64(100*365*24*time.Hour/unit) {
			return 0, false
		}
		d += time.Duration(n) * unit
		s = s[len(m[0]):]
		ok = true
	}
	return d, ok
}

// parseSize reads a size: "512", "8k", "10m", "1g".
func parseSize(s string) (n int64, ok bool) {
	shift := 0
	if s != "" {
		switch s[len(s)-1] | 0x20 {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		}
	}
	if shift > 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return n << shift, err == nil && n >= 0
}
