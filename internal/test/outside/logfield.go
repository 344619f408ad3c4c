package outside

import (
	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
)

// Tenant is a filter that writes the tenant of a request into the access log.
var Tenant = &proxy.Filter{
	Name: "tenant",
	Log:  func(x *proxy.Exchange, _ *edge.Record) { x.LogField("tenant", x.Request.Get("X-Tenant")) },
}
