package all

import (
	_ "github.com/edge-proxy/edge/filter/access"
	_ "github.com/edge-proxy/edge/filter/basicauth"
	_ "github.com/edge-proxy/edge/filter/cors"
	_ "github.com/edge-proxy/edge/filter/csrf"
	_ "github.com/edge-proxy/edge/filter/fault"
	_ "github.com/edge-proxy/edge/filter/headers"
	_ "github.com/edge-proxy/edge/filter/maintenance"
	_ "github.com/edge-proxy/edge/filter/ratelimit"
	_ "github.com/edge-proxy/edge/filter/requestlimits"
)
