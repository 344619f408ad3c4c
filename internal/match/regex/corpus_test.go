package regex

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
)

// rules are patterns as operators write them: routes, lists of robots, filters of attacks, formats of fields.
var rules = strings.Split(strings.TrimSpace(`
^/$
^/api/
^/api/v[0-9]+/
^/api/v[0-9]+/items/[0-9]+$
^/(?:en|de|fr|es|pt-br)(?:/|$)
^/user/[0-9]+(?:/profile)?$
^/blog/(\d{4})/(\d{2})/([a-z0-9-]+)/?$
^/(.*)/$
^/old/(.*)$
^/static/.*\.[0-9a-f]{8}\.(?:js|css)$
(?i)\.(?:jpe?g|png|gif|webp|avif|svg|ico)$
\.(css|js|woff2?|ttf|map)(\?.*)?$
(?i)\.(?:bak|old|swp|sql|env|ini|log|conf)$
(?:^|/)\.(?:git|svn|hg|env|ht[a-z]+)(?:/|$)
^/wp-(?:admin|login\.php|content/uploads/.*\.php)
^/[^/]+/[^/]+/(?:edit|delete)$
^/items/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$
^(?:GET|HEAD|OPTIONS)$
^(?:www\.)?example\.(?:com|org|net)$
^[a-z0-9-]+\.customers\.example\.com$
(?i)^(?:[a-z0-9-]+\.)*example\.com(?::[0-9]+)?$
(?i)(bot|crawl|spider)
(?i)(bot|crawl|spider)[/ ]v?\d+
(?i)\b(?:bot|crawler|spider|slurp|fetcher)\b
(?i)(?:googlebot|bingbot|duckduckbot|yandexbot|baiduspider|applebot|petalbot)
(?i)(?:gptbot|claudebot|ccbot|bytespider|amazonbot|perplexitybot|google-extended)
(?i)^(?:curl|wget|python-requests|go-http-client|java|libwww-perl|okhttp)[/ ]
(?i)(?:ahrefs|semrush|mj12|dot|rogerbot|exabot|seznam|sogou|blex|data ?for ?seo)bot
Chrome/([0-9]+)\.
^Mozilla/[45]\.0 \(.*\) (?:AppleWebKit|Gecko)/
(?i)msie [1-9]\.
(?i)(?:iphone|ipad|android.*mobile|windows phone)
^$
^\s*$
^.{200,}$
(?i)\bunion\b.{1,80}?\bselect\b
(?i)\bselect\b.{1,60}\bfrom\b.{0,60}\bwhere\b
(?i)(?:'|")\s*(?:or|and)\s+\d+\s*=\s*\d+
(?i)\b(?:sleep|benchmark|waitfor\s+delay)\s*\(
(?i)(?:;|\||&&|\$\()\s*(?:cat|ls|id|wget|curl|nc|bash|sh|powershell)\b
(?i)<script[^>]*>[\s\S]*?
(?i)\bon(?:error|load|click|mouseover|focus)\s*=
(?i)javascript\s*:
(?i)<(?:iframe|object|embed|svg|img)\b[^>]{0,100}(?:src|data|on\w+)\s*=
(?:\.\./|\.\.\\|%2e%2e(?:%2f|/)){2,}
(?:^|[/\\])etc[/\\](?:passwd|shadow|hosts)
(?i)\$\{(?:jndi|env|sys|lower|upper)[:}]
(?i)\bfile://|\bphp://(?:input|filter)|\bdata:text/html
[\x00-\x08\x0b\x0c\x0e-\x1f]
[^\x00-\x7f]
(?i)%(?:00|0d%0a|0a|c0%af)
^application/(?:json|[a-z0-9.-]+\+json)(?:\s*;|$)
(?i)^multipart/form-data;\s*boundary=("?)[\w'()+,./:=?-]{1,70}("?)\s*$
(?i)^bearer\s+[a-z0-9_-]+\.[a-z0-9_-]+\.[a-z0-9_-]+$
^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$
^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)$
(?:^|;\s*)session=([0-9a-f]{32})(?:;|$)
(?:^|,\s*)(?:gzip|br|zstd)(?:;q=[01](?:\.\d{1,3})?)?(?:,|$)
^W?/?"?[\w-]+"?$
(?m)^X-Forwarded-For:\s*10\.
\pL{3,}
^[\p{Cyrillic}\s]+$
(?i)straße
`), "\n")

// texts are fields of requests, harmless and not.
var texts = []string{
	"", "/", "/api/v2/items/12345", "/api/v2/items/12345/", "/api/", "/API/v1", "/de/", "/pt-br", "/den",
	"/user/77/profile",
	"/blog/2024/01/some-title/", "/old/page.html", "/static/app.1a2b3c4d.js", "/img/Logo.JPEG", "/a.css?v=2",
	"/db.SQL",
	"/.git/config", "/x/.env", "/wp-login.php", "/wp-content/uploads/a/b.php", "/shop/17/edit",
	"/items/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "GET", "example.org", "www.example.com", "A.b.Example.com:8443",
	"a-1.customers.example.com",
	browser, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
	"Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", "curl/8.5.0",
	"python-requests/2.31",
	"Baidu\u017fpider/2.0", "crawler v3", "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", "data for seobot",
	"id=1' OR 1=1 --", "q=1 UNION ALL SELECT a, b FROM c", "select a from b where c", "x=sleep (5)",
	"a; cat /etc/passwd",
	"<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "java\tscript :", "../../../../etc/shadow",
	"..%2f%2e%2e/",
	"${jndi:ldap://x}", "php://input", "a\x00b", "caf\xc3\xa9", "caf\xe9", "\xff\xfe", "%0d%0aSet-Cookie: a=b",
	"application/problem+json; charset=utf-8", "multipart/form-data; boundary=----x1", "Bearer eyJ.eyJ.sig_-",
	"a.b@example.org",
	"192.168.255.1", "256.1.1.1", "theme=dark; session=0123456789abcdef0123456789abcdef", "br;q=0.9, gzip",
	`W/"abc-1"`,
	"Host: x\nX-Forwarded-For: 10.1.2.3\n", "привет мир", "STRA\u1e9eE", "stra\u00dfe", strings.Repeat("a", 300),
}

func TestMatch_rulesOfOperators(t *testing.T) {
	budget := NewBudget(0)
	c, few := NewCache(budget), NewCache(budget)
	for range 2 { // cold and warm
		for _, rule := range rules {
			p, want := compile(t, rule), regexp.MustCompile(rule)
			small, err := Compile(rule, Limits{States: 4})
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				says := want.MatchString(text)
				if p.Match(c, []byte(text)) != says || small.Match(few, []byte(text)) != says {
					t.Errorf("%q on %q: not %v on %v", rule, text, says, p.Rung())
				}
			}
			if c.Rung(p) != p.Rung() {
				t.Errorf("%q has become a %v", rule, c.Rung(p))
			}
		}
	}
}

// With EDGE_SOAK=1 it takes minutes and compares 3 million texts.
func TestMatch_patternsAtRandom(t *testing.T) {
	patterns, seed := 1000, uint64(1)
	if os.Getenv("EDGE_SOAK") != "" {
		patterns, seed = 250_000, rand.Uint64()
	}
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	spelling := make([]byte, 60)
	c := NewCache(nil)
	for range patterns {
		for i := range spelling {
			spelling[i] = byte(random.Uint32())
		}
		s := speller{rest: spelling}
		pattern := s.flags() + s.alternatives(2)
		p, err := Compile(pattern, Limits{})
		if err != nil {
			continue // too long
		}
		want := regexp.MustCompile(pattern)
		for range 12 {
			var b []byte
			for range random.IntN(12) {
				b = append(b, textParts[random.IntN(len(textParts))]...)
			}
			if got := p.Match(c, b); got != want.Match(b) {
				t.Fatalf("seed %d: %q on %q: %v on %v", seed, pattern, b, got, p.Rung())
			}
			var got, must Groups
			if found := p.Submatches(c, b, &got); found != p.submatches(b, &must) || found && got != must {
				t.Fatalf("seed %d: %q on %q: groups %v, regexp %v", seed, pattern, b, got, must)
			}
		}
		machines.Clear()
	}
}
