package policy

import (
	"time"

	"github.com/edge-proxy/edge/message"
)

// dateMax bounds dates, in seconds since 1970: to the year 2242, so that no difference of two overflows. Dates before
// 1970 count as 1970. Neither makes an answer fresher, since ages and lifetimes end at 2³¹ s.
const dateMax = 1 << 33

// The three forms of a date: RFC 9110 §5.6.7. "@" is a letter, "9" a digit, "_" a digit or a blank.
const (
	fixdateForm = "@@@, 99 @@@ 9999 99:99:99 GMT"
	rfc850Form  = ", 99-@@@-99 99:99:99 GMT" // after the name of the day
	asctimeForm = "@@@ @@@ _9 99:99:99 9999"
)

var (
	shortDays = [...]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	longDays  = [...]string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
	months    = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
)

// parseDate parses a date in one of the three forms and returns nanoseconds since 1970. RFC 9111 §4.2: a cache
// recipient SHOULD match the field value case-insensitively. Whether the name of the day is right is not checked.
func parseDate(b []byte, received int64) (at int64, ok bool) {
	switch {
	case fits(b, fixdateForm):
		ok = indexFold(b[:3], shortDays[:]) >= 0
		return dateTime(number(b[12:16]), b[8:11], b[5:7], b[17:25], ok)
	case fits(b, asctimeForm):
		ok = indexFold(b[:3], shortDays[:]) >= 0
		return dateTime(number(b[20:24]), b[4:7], b[8:10], b[11:19], ok)
	case len(b) <= len(rfc850Form) || !fits(b[len(b)-len(rfc850Form):], rfc850Form):
		return 0, false
	}
	name, b := b[:len(b)-len(rfc850Form)], b[len(b)-len(rfc850Form):]
	if indexFold(name, longDays[:]) < 0 {
		return 0, false
	}
	// RFC 9110 §5.6.7: recipients MUST interpret a timestamp that appears to be more than 50 years in the future as
	// representing the most recent year in the past that had the same last two digits.
	latest := time.Unix(0, received).UTC().AddDate(50, 0, 0)
	year := latest.Year() - latest.Year()%100 + number(b[9:11])
	if year > latest.Year() {
		year -= 100
	}
	at, ok = dateTime(year, b[5:8], b[2:4], b[12:20], true)
	if ok && at > latest.UnixNano() {
		return dateTime(year-100, b[5:8], b[2:4], b[12:20], true)
	}
	return at, ok
}

// fits reports whether b is written as form says.
func fits(b []byte, form string) bool {
	if len(b) != len(form) {
		return false
	}
	for i, c := range b {
		isDigit := '0' <= c && c <= '9'
		switch form[i] {
		case '@':
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return false
			}
		case '9':
			if !isDigit {
				return false
			}
		case '_':
			if !isDigit && c != ' ' {
				return false
			}
		default:
			if letter := form[i] >= 'A'; c != form[i] && (!letter || c != form[i]|0x20) {
				return false
			}
		}
	}
	return true
}

// dateTime puts a date together: clock is hh:mm:ss. It reports false where the calendar has no such time, or ok is
// false.
func dateTime(year int, monthName, dayDigits, clock []byte, ok bool) (int64, bool) {
	month := 1 + indexFold(monthName, months[:])
	day, hour, minute, second := number(dayDigits), number(clock[:2]), number(clock[3:5]), number(clock[6:8])
	// RFC 9110 §5.6.7: second = 2DIGIT, 60 in a leap second.
	if !ok || month == 0 || day == 0 || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	if last := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day(); day > last {
		return 0, false
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC).Unix()
	return min(max(at, 0), dateMax) * int64(time.Second), true
}

// number returns the number that digits stand for. A blank counts as 0.
func number(digits []byte) (n int) {
	for _, c := range digits {
		n = n*10 + int(c&0xf)
	}
	return n
}

// indexFold returns the index of b among names, in any case, or -1.
func indexFold(b []byte, names []string) int {
	for i, name := range names {
		if message.EqualFold(b, name) {
			return i
		}
	}
	return -1
}
