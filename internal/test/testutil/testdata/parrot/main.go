// Command parrot listens, says where, and ends with code 3 on SIGTERM.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(os.Getenv("GREETING"), "listening on", l.Addr())
	<-term
	fmt.Println("goodbye")
	os.Exit(3)
}
