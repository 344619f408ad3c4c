package value

import "testing"

func TestParseListen(t *testing.T) {
	for text, want := range map[string]Address{
		":80":            {Network: "tcp", Port: 80},
		":0":             {Network: "tcp"},
		"0.0.0.0:80":     {Network: "tcp4", Host: "0.0.0.0", Port: 80},
		"[::]:80":        {Network: "tcp6", Host: "::", Port: 80},
		"[0:0::1]:80":    {Network: "tcp6", Host: "::1", Port: 80},
		"127.0.0.1:0":    {Network: "tcp4", Host: "127.0.0.1"},
		"unix:/run/a":    {Network: "unix", Path: "/run/a"},
		"":               {},
		":":              {},
		"80":             {},
		":65536":         {},
		":-1":            {},
		":+1":            {},
		"::80":           {},
		"[127.0.0.1]:80": {},
		"[::1]":          {},
		"[::1]80":        {},
		"[::1:80":        {},
		"256.0.0.1:80":   {},
		"example.com:80": {},
		"unix:":          {},
		"unix:@a":        {},
		"tcp://:80":      {},
	} {
		got, wrong, _ := ParseListen(text)
		if wrong != "" {
			got = Address{}
		}
		got.Text = ""
		if got != want {
			t.Errorf("ParseListen(%q) = %+v %s, want %+v", text, got, wrong, want)
		}
	}
}
