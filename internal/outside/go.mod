module example.com/outside

go 1.26.0

require github.com/edge-proxy/edge v0.0.0

require golang.org/x/sys v0.49.0 // indirect

replace github.com/edge-proxy/edge => ../..
