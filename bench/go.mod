module github.com/edge-proxy/edge/bench

go 1.26.0

require (
	github.com/cloudwego/netpoll v0.7.2
	github.com/edge-proxy/edge v0.0.0
	github.com/jackc/puddle/v2 v2.2.3
	github.com/valyala/fasthttp v1.74.0
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/bytedance/gopkg v0.1.1 // indirect
	github.com/cloudwego/gopkg v0.1.4 // indirect
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/molecule-man/go-brrr v1.0.1 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	golang.org/x/sync v0.8.0 // indirect
)

replace github.com/edge-proxy/edge => ..
