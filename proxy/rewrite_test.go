package proxy

import (
	"testing"

	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/lang"
)

func text(s string) *lang.Template {
	scope, err := variables.Scope(lang.Names{})
	if err != nil {
		panic(err)
	}
	t, err := scope.Template(s, lang.Request)
	if err != nil {
		panic(err)
	}
	return t
}

func TestRewrite_prefixes(t *testing.T) {
	for _, c := range []struct {
		rewrite      Rewrite
		target, want string
	}{
		{Rewrite{StripPrefix: "/v1"}, "/v1/x?y", "/x?y"},
		{Rewrite{StripPrefix: "/v1/"}, "/v1?y", "/?y"},
		{Rewrite{StripPrefix: "/v1"}, "/v1/", "/"},
		{Rewrite{StripPrefix: "/v1"}, "/v12", "/v12"},
		{Rewrite{StripPrefix: "/v1"}, "/V1/x", "/V1/x"},
		{Rewrite{StripPrefix: "/v1"}, "/v1//evil.example/", "/evil.example/"},
		{Rewrite{StripPrefix: "/v1"}, "/v1/\\evil.example/", "/evil.example/"},
		{Rewrite{StripPrefix: "/v1", AddPrefix: "/v2/"}, "/v1", "/v2"},
		{Rewrite{StripPrefix: "/v1", AddPrefix: "/v2"}, "/v1/a?/v1", "/v2/a?/v1"},
		{Rewrite{AddPrefix: "/v2"}, "/", "/v2/"},
		{Rewrite{AddPrefix: "/v2"}, "*", "*"},
	} {
		f, err := c.rewrite.filter()
		if err != nil {
			t.Errorf("%+v: %v", c.rewrite, err)
			continue
		}
		x := &Exchange{}
		x.Request.SetTarget(c.target)
		f.UpstreamRequest(x)
		if got := string(x.Request.Bytes(x.Request.Target)); got != c.want {
			t.Errorf("%+v: %q becomes %q, want %q", c.rewrite, c.target, got, c.want)
		}
	}
	for _, w := range []Rewrite{
		{StripPrefix: "v1"}, {AddPrefix: "/a?b"}, {AddPrefix: "/{path}"}, {AddPrefix: "/a\r\nb"}, {Path: text("a")},
		{Path: text("/a"), AddPrefix: "/b"}, {StripPrefix: "/a b"}, {AddPrefix: "/{{a"},
	} {
		if _, err := w.filter(); err == nil {
			t.Errorf("%+v is accepted", w)
		}
	}
}

func TestRedirect_refuses(t *testing.T) {
	for _, c := range []struct {
		to     string
		status int
	}{{"https://a/", 200}, {"https://a/", 304}, {"a", 0}, {"/a\nb", 0}, {"https://{path}", 0}} {
		if _, err := Redirect(text(c.to), c.status); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
