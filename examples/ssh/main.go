// Command ssh is a server that blocks, on connections of the event loops: SSH, by a library of others.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"

	"github.com/edge-proxy/edge/program"
)

func main() {
	s := program.New(program.Flags())
	l := s.Listener(program.Service{Name: "ssh", Listen: []string{"127.0.0.1:2222"}})
	s.Background("ssh", func(ctx context.Context, ready func()) error { return serve(ctx, l, ready) })
	program.Exit(s.Run())
}

// serve serves until ctx ends: with a drain.
func serve(ctx context.Context, l net.Listener, ready func()) error {
	_, key, err := ed25519.GenerateKey(rand.Reader) // a server of yours has one in a file
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	ready()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			return nil // closed
		}
		go greet(c, config)
	}
}

// greet answers each command of a client with its text.
func greet(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		session, asked, err := wanted.Accept()
		if err != nil {
			return
		}
		for r := range asked {
			r.Reply(r.Type == "exec", nil)
			if r.Type == "exec" {
				fmt.Fprintf(session, "hello %s: %s\n", conn.User(), r.Payload[4:])
				session.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{}))
				session.Close()
			}
		}
	}
}
