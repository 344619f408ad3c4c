package builtin

import (
	_ "github.com/edge-proxy/edge/filter/basicauth"
	_ "github.com/edge-proxy/edge/filter/compress"
	_ "github.com/edge-proxy/edge/filter/ratelimit"
)
