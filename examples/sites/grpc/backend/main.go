// Command backend answers calls of gRPC with an empty message, by the standard library alone: a frame of five zero
// bytes, and the trailer field of a call that went well.
package main

import (
	"log"
	"net/http"
	"os"
)

func main() {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	s := http.Server{Addr: os.Args[1], Protocols: &p, Handler: http.HandlerFunc(answer)}
	log.Fatal(s.ListenAndServe())
}

func answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	w.Header().Set("X-Method", r.URL.Path)
	_, _ = w.Write(make([]byte, 5)) // not compressed, no bytes
	w.Header().Set("Grpc-Status", "0")
}
