package all

import (
	_ "github.com/edge-proxy/edge/filter/basicauth"
	_ "github.com/edge-proxy/edge/filter/cors"
	_ "github.com/edge-proxy/edge/filter/csrf"
	_ "github.com/edge-proxy/edge/filter/headers"
)
