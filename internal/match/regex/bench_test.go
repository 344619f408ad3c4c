package regex

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const browser = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) " +
	"Chrome/126.0.0.0 Safari/537.36"

// rows are patterns of rules with a text that requests have.
var rows = []struct{ name, pattern, text string }{
	{"bots", `(?i)(bot|crawl|spider)[/ ]v?\d+`, browser},
	{"botWords", `(?i)(bot|crawl|spider)`, browser},
	{"botBorders", `(?i)\b(bot|crawl|spider)\b`, browser},
	{"botDFA", `(?i)(b.t|cr.wl|spi?der)[/ ]v?\d+`, browser},
	{"route", `^/api/v[0-9]+/items/[0-9]+`, "/api/v2/items/12345"},
	{"routeOther", `^/api/v[0-9]+/items/[0-9]+`, "/static/app.js"},
	{"middle", `^/api/.*/items/`, "/api/v2/shop/items/7"},
	{"suffix", `(?i)\.(jpe?g|png|gif|css|js)$`, "/static/img/logo.png"},
	{"prefix", `^/api/`, "/api/v2/items/12345"},
	{"equal", `^(/|/index\.html)$`, "/index.html"},
	{"contains", `wp-admin`, "/blog/2024/01/some-title/"},
	{"phpOrAsp", `\.(php|aspx?|cgi)`, "/blog/2024/01/some-title/"},
	{"user", `^/user/[0-9]+$`, "/user/123456"},
}

func BenchmarkMatch(b *testing.B) {
	for _, row := range rows {
		text := []byte(row.text)
		b.Run(row.name+"/ours", func(b *testing.B) {
			p, c := compile(b, row.pattern), NewCache(nil)
			p.Match(c, text)
			b.ReportAllocs()
			for b.Loop() {
				p.Match(c, text)
			}
		})
		b.Run(row.name+"/regexp", func(b *testing.B) {
			p := regexp.MustCompile(row.pattern)
			for b.Loop() {
				p.Match(text)
			}
		})
	}
}

func BenchmarkMatch_long(b *testing.B) {
	text := bytes.Repeat([]byte(browser), 8192/len(browser))
	for _, pattern := range []string{`(?i)(b.t|cr.wl|spi?der)[/ ]v?\d+`, `(?i)(bot|crawl|spider)[/ ]v?\d+`, `\bb.t\b`} {
		b.Run(strings.ReplaceAll(pattern, "/", ""), func(b *testing.B) {
			p, c := compile(b, pattern), NewCache(nil)
			p.Match(c, text)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				p.Match(c, text)
			}
		})
	}
}

func BenchmarkSubmatches(b *testing.B) {
	for _, row := range [][2]string{
		{`^/old/(.*)$`, "/old/some/page.html"},
		{`^/([a-z]+)/(\d+)/(\d+)$`, "/blog/2024/01"},
		{`v([0-9]+)\.([0-9]+)`, browser + " v17.3"},
	} {
		text := []byte(row[1])
		p, c := compile(b, row[0]), NewCache(nil)
		var g Groups
		b.Run("ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Submatches(c, text, &g)
			}
		})
		b.Run("regexp", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.submatches(text, &g)
			}
		})
	}
}

func BenchmarkCompile_thousand(b *testing.B) {
	for b.Loop() {
		for i := range 1000 {
			row := rows[i%len(rows)]
			compile(b, fmt.Sprintf("%s|x%d[a-z]+", row.pattern, i))
		}
	}
}

func BenchmarkMatch_cold(b *testing.B) {
	text := []byte(browser)
	p := compile(b, `(?i)(b.t|cr.wl|spi?der)[/ ]v?\d+`)
	b.ReportAllocs()
	for b.Loop() {
		p.Match(NewCache(nil), text)
	}
}

func compile(t testing.TB, pattern string) *Pattern {
	t.Helper()
	p, err := Compile(pattern, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
