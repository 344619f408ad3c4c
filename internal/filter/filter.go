package filter

import (
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Make makes a filter of a table of a configuration. It has the name of the table.
func Make(d *plugin.Table, b *plugin.Build) (*proxy.Filter, error) {
	made, err := plugin.Make[*proxy.Filter](d, b)
	if err != nil {
		return nil, err
	}
	named := *made
	named.Name = d.Name
	return &named, nil
}

// Try makes a filter of a table as Make does, and closes what it keeps: there is no server. It returns the names of the
// functions that the filter has, in the order in which they run, the text that it explains the answer to request by,
// and the warnings that were logged.
func Try(d *plugin.Table, request *message.Head) (phases []string, explained string, warned []string, err error) {
	warned, err = plugin.Try(d, func(f *proxy.Filter) {
		if phases = Phases(f); f.Explain != nil {
			explained = f.Explain(request)
		}
	})
	return phases, explained, warned, err
}

// Refusal makes the failure of requests that a filter refuses. They are answered with a status and a sentence, or where
// silent is set, by the end of the connection.
func Refusal(kind proxy.Kind, status int, text string, silent bool) *proxy.Error {
	return proxy.NewError(proxy.Error{
		Kind: kind, From: proxy.SideProxy, Status: status, Token: "http_request_denied", Silent: silent, Text: text,
	})
}

// Phases returns the names of the functions that f has, in the order in which they run.
func Phases(f *proxy.Filter) (names []string) {
	for _, phase := range []struct {
		name string
		has  bool
	}{
		{"BeforeRoute", f.BeforeRoute != nil}, {"Request", f.Request != nil},
		{"UpstreamRequest", f.UpstreamRequest != nil}, {"ConnectFailed", f.ConnectFailed != nil},
		{"Connected", f.Connected != nil}, {"RequestBody", f.RequestBody != nil},
		{"UpstreamResponse", f.UpstreamResponse != nil}, {"Response", f.Response != nil},
		{"ResponseBody", f.ResponseBody != nil}, {"Encode", f.Encode != nil}, {"Trailers", f.Trailers != nil},
		{"Error", f.Error != nil}, {"Log", f.Log != nil},
	} {
		if phase.has {
			names = append(names, phase.name)
		}
	}
	return names
}

// TextOf returns the text of t for x: a key to count by, for one. It lies where its only value does, or in memory that
// the request has left over, so that it costs no allocation, and is borrowed until x.Request changes or another text is
// made. For the goroutine that owns x.
func TextOf(x *proxy.Exchange, t *lang.Template) []byte {
	v := proxy.View(x)
	if text, ok := t.Single(v); ok {
		return text
	}
	h := &x.Request
	at := len(h.Base)
	b := t.Append(h.Base, v)
	h.Base = b[:at]
	return b[at:]
}

// TextIn is TextOf for v, the View of x, with one value in each place where there may be several, in the n-th way of
// all: see lang.Template.AppendOne.
func TextIn(x *proxy.Exchange, v *lang.X, t *lang.Template, n int) (text []byte, all int) {
	h := &x.Request
	at := len(h.Base)
	b, all := t.AppendOne(h.Base, v, n)
	h.Base = b[:at]
	return b[at:], all
}
