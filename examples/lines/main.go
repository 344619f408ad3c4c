// Command lines is a service of one's own with TLS: a chat, whose clients send and get lines.
package main

import (
	"bytes"
	"sync"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/program"
)

const config = `
[[certificates]]
cert = "internal"    # of an authority of this machine; a file of yours in its place
`

func main() {
	s := program.New(program.Flags())
	s.Config(config)
	s.Add(program.Service{Name: "lines", Listen: []string{"127.0.0.1:7000"}, TLS: true, Accept: room.accept})
	program.Exit(s.Run())
}

// chat has the clients of all event loops. A reactor writes to its own connections; it reaches the others by a task.
type chat struct {
	mu      sync.Mutex
	clients map[*client]bool
}

var room = chat{clients: make(map[*client]bool)}

type client struct {
	engine.NopHandler
	ref engine.Ref // leads other goroutines to the connection
}

func (r *chat) accept(*engine.Conn) engine.Handler { return &client{} }

func (cl *client) OnOpen(c *engine.Conn) {
	c.Write([]byte("welcome\n")) // this server speaks first
	room.mu.Lock()
	defer room.mu.Unlock()
	cl.ref = c.Ref()
	room.clients[cl] = true
}

func (cl *client) OnData(_ *engine.Conn, in []byte) (used int) {
	for {
		end := bytes.IndexByte(in[used:], '\n')
		if end < 0 {
			return used
		}
		room.say(cl, bytes.Clone(in[used:used+end+1]))
		used += end + 1
	}
}

func (cl *client) OnEOF(c *engine.Conn) { c.Close(nil) }

func (cl *client) OnClose(*engine.Conn, error) {
	room.mu.Lock()
	defer room.mu.Unlock()
	delete(room.clients, cl)
}

// say sends a line to all but its sender.
func (r *chat) say(from *client, line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for cl := range r.clients {
		if cl != from {
			cl.ref.Reactor().Post(&engine.Task{Run: func(*engine.Reactor) {
				if c := cl.ref.Conn(); c != nil {
					c.Write(line)
				}
			}})
		}
	}
}
