package importer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Requests beyond the rate are refused by both, one after the other.
func TestNginx_limitsCountTheSame(t *testing.T) {
	backend := echo(t, false)
	there, here, _ := nginxDialect(t).serveBoth(t, t.TempDir(), func(port string) string {
		return strings.NewReplacer("PORT", port, "BACKEND", backend).Replace(limiting)
	})
	for _, path := range []string{"/none", "/some/", "/some/other", "/status/", "/key/", "/key/a", "/address/",
		"/answer/", "/file/", "/dry/", "/inner/x"} {
		var a, b string
		for i := range 16 {
			r := &request{method: "GET", host: "a.test", path: path, header: http.Header{}}
			if i%3 > 0 {
				r.header.Set("X-Key", fmt.Sprint(i%3))
			}
			if i%5 == 0 {
				r.from = "127.0.0.2"
			}
			a, b = a+fmt.Sprintln(there(r)), b+fmt.Sprintln(here(r))
		}
		if a != b {
			t.Errorf("%s: there\n%s, here\n%s", path, a, b)
		}
	}
}

// limiting has a rate at which nothing comes back while the test runs.
const limiting = `events {}
http {
  access_log off;
  limit_req_zone $binary_remote_addr zone=none:1m rate=1r/m;
  limit_req_zone $remote_addr zone=some:1m rate=1r/m;
  limit_req_zone $http_x_key zone=key:1m rate=1r/m;
  limit_req_zone $host$http_x_key zone=both:1m rate=1r/m;
  limit_req_zone $server_name zone=status:1m rate=1r/m;
  limit_req_zone $request_method zone=dry:1m rate=1r/m;
  limit_req_zone $host zone=inner:20m rate=1r/m;
  server {
    listen 127.0.0.1:PORT;
    server_name a.test;
    location / { proxy_pass http://BACKEND; }
    location /none { limit_req zone=none; proxy_pass http://BACKEND; }
    location /some/ { limit_req zone=some burst=4 nodelay; proxy_pass http://BACKEND; }
    location /status/ { limit_req_status 429; limit_req zone=status burst=9 nodelay; proxy_pass http://BACKEND; }
    location /key/ { limit_req zone=key burst=1 nodelay; proxy_pass http://BACKEND; }
    location /address/ { limit_req zone=both burst=2 nodelay; allow 127.0.0.2; deny all; proxy_pass http://BACKEND; }
    location /answer/ { limit_req zone=none; return 204; }
    location /dry/ { limit_req_dry_run on; limit_req zone=dry; proxy_pass http://BACKEND; }
    location /inner/ { limit_req zone=inner burst=3 nodelay; location /inner/x { proxy_pass http://BACKEND; } }
    location /file/ { limit_req zone=some burst=4 nodelay; root /usr; }
  }
}
`
