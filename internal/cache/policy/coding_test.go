package policy

import "testing"

func TestCodingOf(t *testing.T) {
	for lines, want := range map[string]string{
		"gzip":                                   "gzip",
		"gzip, deflate, br, zstd":                "zstd, br, gzip",
		"GZip;q=1.000 , BR ; q=0.001":            "br, gzip",
		"x-gzip":                                 "gzip",
		"gzip;q=0":                               "identity",
		"gzip;Q=0.000, br;q=0.":                  "identity",
		"*":                                      "zstd, br, gzip",
		"*;q=0":                                  "identity",
		"br;q=0, *":                              "zstd, gzip",
		"x-gzip;q=0, *;q=0.5":                    "zstd, br",
		"br, *;q=0":                              "br",
		"gzip, gzip;q=0":                         "identity",
		"":                                       "identity",
		"identity":                               "identity",
		"deflate, dcb":                           "identity",
		"br|Accept-Encoding: gzip":               "br, gzip",
		"br|-Accept-Encoding: gzip":              "br",
		"gzip;q=2, br":                           "br",
		"gzip;q=1.001, br;q=0.0000, zstd":        "zstd",
		"gzip;q=.5, br;q=0.5x, zstd;q":           "identity",
		"gzip;level=1, br;q=1;x=y, zstd; q = 1.": "identity",
		"gzip br":                                "identity",
		"gzip;, br":                              "br",
		"gzip;q=x, *":                            "zstd, br, gzip",
		", ,br,":                                 "br",
	} {
		c, stated := CodingOf(heads(0, "Accept-Encoding: "+lines))
		if c.String() != want || !stated {
			t.Errorf("%q: %q %v, want %q", lines, c, stated, want)
		}
		again, _ := CodingOf(heads(0, "Accept-Encoding: "+c.String()))
		if again != c {
			t.Errorf("%q: %q is taken for %q", lines, c, again)
		}
	}
	if c, stated := CodingOf(heads(0, "-Accept-Encoding: br|Accept: a")); c != 0 || stated {
		t.Errorf("no field: %q %v", c, stated)
	}
}

// A parser that does not know what it reads never asks for more than the request named.
func FuzzCodingOf(f *testing.F) {
	for _, s := range []string{"gzip, br;q=0.5, zstd;q=0", "*;q=0.1, x-gzip", "gzip;;q=1", "br;q=1.000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h := heads(0, "")
		h.Add("Accept-Encoding", s)
		c, stated := CodingOf(h)
		if !stated || c&^codings != 0 {
			t.Fatalf("%q: %x %v", s, c, stated)
		}
		h.Add("Accept-Encoding", "zstd;q=0, br;q=0, gzip;q=0")
		if c, _ = CodingOf(h); c != 0 {
			t.Fatalf("%q: all are excluded, and %q is taken", s, c)
		}
	})
}
