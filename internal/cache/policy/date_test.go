package policy

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	const at = 784111777 // Sun, 06 Nov 1994 08:49:37 GMT
	for text, want := range map[string]int64{
		"Sun, 06 Nov 1994 08:49:37 GMT":    at,
		"Sunday, 06-Nov-94 08:49:37 GMT":   at,
		"Sun Nov  6 08:49:37 1994":         at,
		"Sun Nov 06 08:49:37 1994":         at,
		"sUN, 06 nOV 1994 08:49:37 GMT":    at,
		"SUNDAY, 06-NOV-94 08:49:37 GMT":   at,
		"Mon, 06 Nov 1994 08:49:37 GMT":    at, // the name of the day is not checked
		"Sun, 06 Nov 1994 08:49:60 GMT":    at + 23,
		"Thu, 29 Feb 2024 00:00:00 GMT":    1709164800,
		"Sat, 31 Dec 1994 23:59:60 GMT":    788918400,
		"Thu, 01 Jan 1970 00:00:00 GMT":    0,
		"Fri, 01 Jan 1960 00:00:00 GMT":    0,
		"Sat, 01 Jan 0000 00:00:00 GMT":    0,
		"Fri, 31 Dec 9999 23:59:59 GMT":    dateMax,
		"":                                 -1,
		"0":                                -1,
		"Sun, 06 Nov 1994 08:49:37 gmt":    at,
		"Sun, 06 Nov 1994 08:49:37 UTC":    -1,
		"Sun, 06 Nov 1994 08:49:37 +0000":  -1,
		"Sun, 06 Nov 1994 08:49:37":        -1,
		"Sun, 6 Nov 1994 08:49:37 GMT":     -1,
		"Sun, 06 Nov 1994 8:49:37 GMT":     -1,
		"Sun, 06  Nov 1994 08:49:37 GMT":   -1,
		"Sun,  6 Nov 1994 08:49:37 GMT":    -1,
		"Sun 06 Nov 1994 08:49:37 GMT":     -1,
		"Sun, 06-Nov-1994 08:49:37 GMT":    -1,
		"Sun, 06 Nov 94 08:49:37 GMT":      -1,
		"Sun, 06 Nov 1994 08.49.37 GMT":    -1,
		"Sun, 06 Nov 1994 08:49:37 GMT ":   -1,
		"Son, 06 Nov 1994 08:49:37 GMT":    -1,
		"Sun, 06 Okt 1994 08:49:37 GMT":    -1,
		"Sun, 00 Nov 1994 08:49:37 GMT":    -1,
		"Sun, 31 Nov 1994 08:49:37 GMT":    -1,
		"Wed, 29 Feb 2023 00:00:00 GMT":    -1,
		"Sun, 06 Nov 1994 24:00:00 GMT":    -1,
		"Sun, 06 Nov 1994 08:60:00 GMT":    -1,
		"Sun, 06 Nov 1994 08:49:61 GMT":    -1,
		"Sun Nov 6 08:49:37 1994":          -1,
		"Sun Nov  6 08:49:37 1994 GMT":     -1,
		"Sun Nov    08:49:37 1994":         -1,
		"Sun Nov  0 08:49:37 1994":         -1,
		"Sun, 06-Nov-94 08:49:37 GMT":      -1,
		"Sunda, 06-Nov-94 08:49:37 GMT":    -1,
		", 06-Nov-94 08:49:37 GMT":         -1,
		"Sunday, 06 Nov 94 08:49:37 GMT":   -1,
		"Sunday, 06-Nov-1994 08:49:37 GMT": -1,
		"Sunday, 31-Nov-94 08:49:37 GMT":   -1,
	} {
		got, ok := parseDate([]byte(text), received)
		if ok != (want >= 0) || ok && got != want*second {
			t.Errorf("%q: %d %v, want %d", text, got/second, ok, want)
		}
	}
}

// RFC 9110 §5.6.7: more than 50 years in the future is the most recent year in the past with these digits.
func TestParseDate_yearsOfTwoDigits(t *testing.T) {
	for _, c := range []struct {
		received, text string
		year           int
	}{
		{"2026-03-01T12:00:00Z", "01-Mar-76 12:00:00", 2076},
		{"2026-03-01T12:00:00Z", "01-Mar-76 12:00:01", 1976},
		{"2026-03-01T12:00:00Z", "01-Jan-77 00:00:00", 1977},
		{"2026-03-01T12:00:00Z", "01-Jan-00 00:00:00", 2000},
		{"2026-03-01T12:00:00Z", "01-Jan-99 00:00:00", 1999},
		{"2026-03-01T12:00:00Z", "29-Feb-76 00:00:00", 2076},
		{"2070-03-01T12:00:00Z", "01-Jan-19 00:00:00", 2119},
		{"2070-03-01T12:00:00Z", "01-Jan-21 00:00:00", 2021},
		{"1999-12-31T23:59:59Z", "01-Jan-00 00:00:00", 2000},
	} {
		at, err := time.Parse(time.RFC3339, c.received)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := parseDate([]byte("Monday, "+c.text+" GMT"), at.UnixNano())
		if year := time.Unix(0, got).UTC().Year(); !ok || year != c.year {
			t.Errorf("%s at %s: %d %v, want %d", c.text, c.received, year, ok, c.year)
		}
	}
}

// What is a date for us is the same one for net/http, but for a leap second and the century of two digits; and what
// net/http reads is one for us where it is written with the widths of the RFC.
func FuzzParseDate(f *testing.F) {
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
		"Thu, 29 Feb 2024 23:59:60 GMT", "Sunday, 29-Feb-76 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "0", "",
		"Sun, 06 Nov 1994 08:49:37 GMt",
	} {
		f.Add(s, received)
	}
	f.Fuzz(func(t *testing.T, s string, received int64) {
		received &= 1<<62 - 1 // to the year 2116
		got, ok := parseDate([]byte(s), received)
		if zone := max(len(s)-3, 0); strings.EqualFold(s[zone:], "GMT") {
			s = s[:zone] + "GMT" // net/http knows it in capitals only
		}
		want, err := http.ParseTime(s)
		if leap := strings.Replace(s, ":60", ":59", 1); ok && err != nil && leap != s {
			if want, err = http.ParseTime(leap); err == nil {
				want = want.Add(time.Second)
			}
		}
		form := writtenForm(want, s)
		switch {
		case ok && err != nil:
			t.Fatalf("%q is %d, net/http: %v", s, got, err)
		case !ok && err == nil && form != "" && (form != time.RFC850 || want.Month() != time.February):
			t.Fatalf("%q is %v", s, want)
		case !ok:
			return
		}
		at := time.Unix(0, got).UTC()
		if strings.Contains(s, "-") { // the RFC 850 form
			latest := time.Unix(0, received).UTC().AddDate(50, 0, 0)
			if at.After(latest) || got != 0 && !at.AddDate(100, 0, 1).After(latest) {
				t.Fatalf("%q is %v at %v", s, at, time.Unix(0, received).UTC())
			}
			if got != 0 && (at.Year()-want.Year())%100 != 0 {
				t.Fatalf("%q is %v, want %v", s, at, want)
			}
			return
		}
		if want := min(max(want.Unix(), 0), dateMax); got != want*second {
			t.Fatalf("%q is %d, want %d", s, got, want*second)
		}
	})
}

// writtenForm returns the layout in which s is written as RFC 9110 §5.6.7 wants it, "" where there is none.
func writtenForm(at time.Time, s string) string {
	for _, layout := range []string{http.TimeFormat, time.RFC850, time.ANSIC} {
		text := strings.Replace(at.UTC().Format(layout), " UTC", " GMT", 1)
		// The name of the day may be wrong.
		if end := strings.IndexAny(s, ", "); len(text) == len(s) && end > 0 && strings.EqualFold(text[end:], s[end:]) &&
			strings.HasSuffix(text, "GMT") == strings.HasSuffix(s, "GMT") {
			return layout
		}
	}
	return ""
}
