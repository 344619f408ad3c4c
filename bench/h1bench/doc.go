// Package h1bench measures the HTTP/1 codec beside those of fasthttp and of net/http, on the same bytes.
package h1bench
