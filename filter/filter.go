package filter

import (
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/proxy"
)

// What types of filters use of package plugin.
type (
	Build   = plugin.Build
	Counter = plugin.Counter
	Report  = plugin.Report
	Rate    = plugin.Rate
	Text    = plugin.Text
	Store   = plugin.Store
	Claims  = plugin.Claims
)

// Register adds a type of filters whose tables are decoded into a C, a struct: see plugin.Register.
func Register[C any](name, doc string, create func(c *C, b *Build) (*proxy.Filter, error)) {
	plugin.Register(plugin.Filters, name, doc, create)
}

// Make makes a filter of a table of a configuration. It has the name of the table.
func Make(d *plugin.Table, b *Build) (*proxy.Filter, error) {
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

// Completed is plugin.Completed.
func Completed[C any](c *C, b *Build) (*C, error) { return plugin.Completed(c, b) }

// Keep is plugin.Keep.
func Keep[T any](b *Build, identity string, create func() (T, error)) (T, error) {
	return plugin.Keep(b, identity, create)
}

// ParseRate is plugin.ParseRate.
func ParseRate(s string) (Rate, error) { return plugin.ParseRate(s) }

// Condition is plugin.Condition.
func Condition(text string, in lang.Phases) (*lang.Condition, error) {
	return plugin.Condition(text, in)
}

// Template is plugin.Template.
func Template(text string, in lang.Phases) (*lang.Template, error) { return plugin.Template(text, in) }

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
