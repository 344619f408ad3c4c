package tags

import (
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "512": 512, "64k": 64 << 10, "64K": 64 << 10, "10m": 10 << 20, "2g": 2 << 30, "1t": 1 << 40, "3b": 3,
		"1KiB": 1 << 10, "1kb": 1 << 10, "8388607t": 8388607 << 40, "10 MiB": 10 << 20,
		"": -1, "k": -1, "-1k": -1, "+1": -1, "1.5g": -1, "1 ": -1, "1  k": -1, "1x": -1, "1kk": -1, "1ib": -1,
		"8388608t":             -1,
		"99999999999999999999": -1, "0x10": -1,
	} {
		got, ok := ParseSize(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("ParseSize(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "5": 5 * time.Second, "1.5": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond,
		"1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "5s": 5 * time.Second,
		"": -1, "s": -1, "-5s": -1, "+5s": -1, "5 s": -1, "5x": -1, "1e9": -1, "inf": -1, "nan": -1, "0x1p4": -1,
		"d": -1, "1.5d": -1, "1d1d": -1, "99999d": -1, "9999999999999": -1, "9999999h": -1, "1.2.3": -1, ".": -1,
		"65535d9999999h": -1,
	} {
		got, ok := ParseDuration(text)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("ParseDuration(%q) = %v, want %v", text, got, want)
		}
	}
}
