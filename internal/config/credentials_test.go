package config

import (
	"strings"
	"testing"
)

// A mistake beside a secret, or in its key, does not show it.
func TestMistakes_showNoCredentials(t *testing.T) {
	for name, text := range map[string]string{
		"text after it": "[upstreams.a]\nsticky.secret = \"SECRETSECRET\" x\n",
		"key twice":     "[upstreams.a]\nsticky.secret = \"SECRETSECRET\"\nsticky.secret = \"SECRETSECRET\"\n",
		"unknown key":   "[upstreams.a]\ntokens = \"SECRETSECRET\"\n",
		"single quotes": "[upstreams.a]\ntokens = 'SECRETSECRET'\n",
		"beside":        "[health_check]\nx = 1, headers = { Authorization = \"Bearer SECRETSECRET\" }\n",
		"URL":           "[upstreams.a]\nbackends = [{ addres = \"http://u:SECRETSECRET@a:1\" }]\n",
		"registry":      "[upstreams.a]\ndiscover = \"consul://u:SECRETSECRET@127.0.0.1:9/svc\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, rep := Parse("edge.toml", []byte(text))
			var said strings.Builder
			if _ = rep.Render(&said); len(rep.Errors) == 0 || strings.Contains(said.String(), "SECRET") {
				t.Error(said.String())
			}
		})
	}
}

// A mistake in a value is shown, whatever its key is called, and so is what leads to a secret.
func TestMistakes_showThemselves(t *testing.T) {
	for text, want := range map[string]string{
		"[upstreams.a]\nbackends = [{ address = \"a:1\" }]\nhash_key = \"heder.x\"\n": "heder.x",
		"[upstreams.a]\ntokens = \"${file:/run/x}\"\n":                                "/run/x",
		"[[certificates]]\ncerts = \"/a.pem\"\nkey = \"/b.pem\", x = 1\n":             "/b.pem",
	} {
		_, rep := Parse("edge.toml", []byte(text))
		var said strings.Builder
		if _ = rep.Render(&said); !strings.Contains(said.String(), want) {
			t.Errorf("want %s: %s", want, said.String())
		}
	}
}
