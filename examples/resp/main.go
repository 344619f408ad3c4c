// Command resp is a service of one's own: a store in memory that speaks the protocol of Redis, with pipelining.
package main

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/program"
)

func main() {
	s := program.New(program.Flags())
	s.Add(program.Service{Name: "resp", Listen: []string{"127.0.0.1:6379"}, ClientFirst: true,
		Accept: func(*engine.Conn) engine.Handler { return &client{} }})
	program.Exit(s.Run())
}

// store is shared by all event loops.
var store sync.Map

// client is one connection.
type client struct {
	engine.NopHandler
	args [][]byte
}

const bytesMax = 512 << 10 // of one argument

// OnData answers all commands that are there as a whole. What is left comes again, with more.
func (cl *client) OnData(c *engine.Conn, in []byte) (used int) {
	for !c.Congested() { // else the client is to read first
		n, ok := cl.parse(in[used:])
		if !ok {
			c.Write([]byte("-ERR Protocol error\r\n"))
			c.Close(nil)
			return len(in)
		}
		if n == 0 {
			return used
		}
		used += n
		cl.answer(c)
	}
	c.PauseRead()
	return used
}

func (cl *client) OnSendable(c *engine.Conn) { c.ResumeRead() }

// parse takes one command off in: *2\r\n$3\r\nGET\r\n$1\r\na\r\n. n is 0 where it is not there as a whole.
func (cl *client) parse(in []byte) (n int, ok bool) {
	count, n, ok := number(in, '*')
	if !ok || n == 0 || count > 64 {
		return 0, ok && n == 0
	}
	cl.args = cl.args[:0]
	for range count {
		size, m, ok := number(in[n:], '$')
		switch {
		case !ok || size > bytesMax:
			return 0, false
		case m == 0 || len(in) < n+m+size+2:
			return 0, true
		}
		cl.args = append(cl.args, in[n+m:n+m+size])
		n += m + size + 2
	}
	return n, true
}

// number reads a line such as "$3\r\n". n is 0 where it is not there as a whole.
func number(in []byte, kind byte) (v, n int, ok bool) {
	end := bytes.IndexByte(in, '\n')
	if len(in) > 0 && in[0] != kind || end < 0 && len(in) > 16 || end >= 0 && end < 3 {
		return 0, 0, false
	}
	if end < 0 {
		return 0, 0, true
	}
	for _, c := range in[1 : end-1] {
		if c < '0' || c > '9' || v > bytesMax {
			return 0, 0, false
		}
		v = 10*v + int(c-'0')
	}
	return v, end + 1, true
}

func (cl *client) answer(c *engine.Conn) {
	name := ""
	if len(cl.args) > 0 {
		name = string(bytes.ToUpper(cl.args[0]))
	}
	switch {
	case name == "PING":
		c.Write([]byte("+PONG\r\n"))
	case name == "SET" && len(cl.args) == 3:
		store.Store(string(cl.args[1]), bytes.Clone(cl.args[2]))
		c.Write([]byte("+OK\r\n"))
	case name == "GET" && len(cl.args) == 2:
		v, found := store.Load(string(cl.args[1]))
		if !found {
			c.Write([]byte("$-1\r\n"))
			return
		}
		b := c.Reserve(len(v.([]byte)) + 32)
		b = append(strconv.AppendInt(append(b, '$'), int64(len(v.([]byte))), 10), "\r\n"...)
		c.Commit(append(append(b, v.([]byte)...), "\r\n"...))
	default:
		c.Write([]byte("-ERR unknown command\r\n"))
	}
}
