package admin

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What would open the process to others is refused, with what to write.
func TestSettings_mistakes(t *testing.T) {
	for text, want := range map[string]string{
		`listen = ":9901"`: `":9901" is not a loopback address: anyone who reaches it could change the process`,
		"listen = \"10.0.0.1:9901\"\ntoken = \"" + testToken + "\"": "without TLS the token could be read on the way",
		`listen = "127.0.0.1:9901"`:                                 "without a token",
		`token = "short"`:                                           "the token has 5 characters, 22 are the least",
		`listen = true`:                                             `"listen" takes an address or false`,
		`listen = "on"`:                                             `"on" has no port`,
		`client_ca = "a.pem"`:                                       `"client_ca" has no meaning without "cert"`,
		`names = ["http://a"]`:                                      `"http://a" is not the name of a host`,
		`metrics = "metrics"`:                                       `"metrics" is not a path`,
		`metrics = "/readyz"`:                                       `"/readyz" is the path of something else`,
		`metrics = "/livez"`:                                        `"/livez" is the path of something else`,
		`metrics = "/v1/status"`:                                    `"/v1/status" is the path of something else`,
		`metrics = "/debug/pprof/heap"`:                             `"/debug/pprof/heap" is the path of something`,
		`read = "some"`:                                             `"group" or "all"`,
		`dashboard = true`:                                          "is not supported by this version",
	} {
		_, rep := config.Parse("edge.toml", []byte("http.listen = \":80\"\n[admin]\n"+text+"\n"))
		var out strings.Builder
		_ = rep.Render(&out)
		if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "edge.toml:3:") {
			t.Errorf("%s: want %q:\n%s", text, want, out.String())
		}
	}
	text := "[admin]\nlisten = \"off\"\n[metrics]\nlisten = [\":1\", \"unix:/x\"]\n"
	_, rep := config.Parse("edge.toml", []byte(text))
	if !rep.OK() {
		t.Error(rep.Errors[0].Error())
	}
}

// Over TLS a client certificate of the authority takes the place of the token.
func TestSurface_clientCertificates(t *testing.T) {
	authority, dir := testutil.NewAuthority(t), t.TempDir()
	authority.IssueTo(t, dir, "admin", nil, "localhost")
	authority.Write(t, filepath.Join(dir, "ca.pem"))
	cert := filepath.Join(dir, "admin.pem")
	text := fmt.Sprintf("[admin]\nlisten = \"127.0.0.1:0\"\ncert = %q\nkey = %q\nclient_ca = %q\ntoken = %q\n", cert,
		filepath.Join(dir, "admin.key"), filepath.Join(dir, "ca.pem"), testToken)
	s := open(t, &fake{}, text)
	ask := func(c *http.Client, path, token string) int {
		t.Helper()
		req, err := http.NewRequest("GET", "https://"+s.Addresses()[0]+path, nil)
		testutil.Must(t, err)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, _ := testutil.Do(t, c, req)
		return resp.StatusCode
	}
	plain := &tls.Config{RootCAs: authority.Pool, ServerName: "localhost"}
	without := &http.Client{Transport: &http.Transport{TLSClientConfig: plain, DisableKeepAlives: true}}
	shown := plain.Clone()
	leaf, key := authority.Issue(t, nil, "operator")
	shown.Certificates = []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}
	with := &http.Client{Transport: &http.Transport{TLSClientConfig: shown, DisableKeepAlives: true}}
	for _, c := range []struct {
		client *http.Client
		path   string
		token  string
		want   int
	}{
		{without, "/v1/status", "", 401}, {without, "/livez", "", 200}, {without, "/v1/status", testToken, 200},
		{with, "/v1/status", "", 200}, {with, "/v1/status", "wrong", 200},
	} {
		if got := ask(c.client, c.path, c.token); got != c.want {
			t.Errorf("%s, token %q: %d, want %d", c.path, c.token, got, c.want)
		}
	}
	// A configuration without the certificate makes it plain, over the same socket.
	address := s.Addresses()[0]
	testutil.Must(t, apply(t, s, tcpText))
	resp, _ := testutil.Get(t, http.DefaultClient, "http://"+address+"/livez")
	if resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	broken := strings.Replace(text, cert, cert+".none", 1)
	if err := apply(t, s, broken); err == nil || !strings.Contains(err.Error(), "[admin]: cert: ") {
		t.Error(err)
	}
}

// A socket that cannot be made is an error before the start.
func TestSockets_thatCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	for _, section := range []string{"admin", "metrics"} {
		t.Run(section, func(t *testing.T) {
			file := filepath.Join(dir, section+".toml")
			text := "[http]\nlisten = \":80\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n[" + section +
				"]\nlisten = \"unix:" + dir + "/none/s\"\n"
			testutil.Must(t, os.WriteFile(file, []byte(text), 0o600))
			_, report := config.Options{}.Load(file)
			if len(report.Errors) != 1 || !strings.Contains(report.Errors[0].Message, "the folder of") {
				t.Errorf("%+v", report.Errors)
			}
		})
	}
}
