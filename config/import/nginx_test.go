package importer_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
)

// leftOut are lines that nginx does not start with on this machine. A socket for each worker needs the workers.
const leftOut = `(?m)^\s*(include (/config|fastcgi)|ssl_dhparam|worker_processes)[^;]*;`

// Every file of testdata/nginx does here what nginx does with it, but for what its golden file lists.
func TestNginx_answersAreTheSame(t *testing.T) {
	binary := testutil.Nginx(t)
	compare(t, &dialect{
		program: "nginx", pattern: "[0-9]*.conf",
		listen:  regexp.MustCompile(`\blisten\s+(?:\[::\]:|[\d.]+:|\*:)?(\d+)`),
		backend: regexp.MustCompile(`(?:\bserver\s+|proxy_pass\s+https?://)((?:localhost|[\d.]+):\d+)`),
		files:   regexp.MustCompile(`ssl_certificate(?:_key)?\s+([^;]+)`),
		paths:   regexp.MustCompile(`location\s+(?:=\s+|\^~\s+)?(/[^\s{]*)`),
		hosts:   regexp.MustCompile(`server_name\s+([^;]+)`),
		start: func(t *testing.T, dir, text string) {
			text = strings.Replace(text, "http {", "http { client_body_temp_path t1; proxy_temp_path t2; "+
				"fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;", 1)
			text = withoutUser.ReplaceAllString(text, "")
			text = regexp.MustCompile(leftOut).ReplaceAllString(text, "")
			path := filepath.Join(dir, "main.conf")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			main := "daemon off; master_process off; error_log stderr warn; pid " + dir + "/nginx.pid;"
			testutil.Start(t, testutil.Command{Path: binary, Dir: dir,
				Args: []string{"-p", dir, "-c", path, "-e", "stderr", "-g", main}})
		},
	})
}
