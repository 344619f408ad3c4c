package explain_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/server/explain"
)

// A request is explained with its body, also where it waits for 100.
func TestExplain_body(t *testing.T) {
	const text = "[[routes]]\npattern = \"/*\"\ndest = \"10.0.0.1:80\"\nread_body = \"1k\"\n" +
		"[[routes.rules]]\nwhen = 'json(body, \"model\") == \"small\"'\ndeny = 403\n"
	path := fileOf(t, text)
	for _, fields := range [][]string{nil, {"Expect: 100-continue"}} {
		a := answerOf(t, path, explain.Ask{URL: "http://x:8080/", Body: `{"model":"small"}`, Fields: fields})
		if out := textOf(t, a); !strings.Contains(out, "403") {
			t.Error(out)
		}
	}
}
