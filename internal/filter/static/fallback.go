package static

import (
	"context"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy"
)

// First returns the filter of a route that leads to the fallback of f. It has the requests for files of f, whatever
// their method, lead to f. So it runs after the filters that may refuse a request.
func (f *files) First() *proxy.Filter {
	return &proxy.Filter{Name: "files", Request: f.choose}
}

// choose decides whether x leads to f. It parks x while another goroutine looks.
func (f *files) choose(x *proxy.Exchange) proxy.Verdict {
	path := x.PathOnward()
	if len(path) == 0 || path[0] != '/' {
		return proxy.Next
	}
	if e := f.fresh(x, path); e != nil {
		if len(e.forms) > 0 {
			x.SetDestination(f)
		}
		return proxy.Next
	}
	v, name, ref, why := f.visit(x), string(path), x.Ref(), failed
	j := &engine.Job{Lasts: true}
	j.Do = func(context.Context) { v.found, why = v.lookBriefly(name) }
	j.Done.Run = func(*engine.Reactor) {
		ref.ResumeWith(func(x *proxy.Exchange) proxy.Verdict {
			switch why {
			case notFound:
				return proxy.Next
			case nil:
				x.SetDestination(f)
				if v.found != nil { // else it is a redirect, which net/http answers
					of := answers.Of(x)
					of.visit, of.asked = v, true
				}
				return proxy.Next
			}
			return proxy.Fail(why)
		})
	}
	if x.Reactor().Offload(j) != nil {
		return proxy.Fail(proxy.Overload)
	}
	return proxy.Park
}
