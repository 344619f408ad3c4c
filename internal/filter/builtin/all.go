package builtin

import (
	_ "github.com/edge-proxy/edge/internal/filter/basicauth"
	_ "github.com/edge-proxy/edge/internal/filter/compress"
	_ "github.com/edge-proxy/edge/internal/filter/ratelimit"
)
